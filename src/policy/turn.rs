//! One decision in the making: the fleet, the time, and the actions so far.
//!
//! Every rule takes a `&mut Turn`. It only changes facts and appends actions.

use super::vocabulary::{Action, Level, Note};
use crate::model::fleet::{Fleet, Service};
use crate::model::{Generation, Moment, Phase, PlanId, ServiceName, WorkerId};
use std::collections::BTreeSet;

pub struct Turn<'a> {
    pub fleet: &'a mut Fleet,
    pub now: Moment,
    pub out: Vec<Action>,
}

impl<'a> Turn<'a> {
    pub fn new(fleet: &'a mut Fleet, now: Moment) -> Turn<'a> {
        Turn { fleet, now, out: Vec::new() }
    }

    pub fn push(&mut self, action: Action) {
        self.out.push(action);
    }

    /// Moves a worker to the next phase; an illegal move is a fault of ours.
    pub fn advance(&mut self, id: WorkerId, next: Phase) {
        let Some(worker) = self.fleet.workers.get_mut(&id) else {
            return;
        };
        debug_assert!(worker.phase.may_become(next), "{id}: {:?} -> {next:?}", worker.phase);
        worker.phase = next;
    }

    pub fn service(&mut self, name: &ServiceName) -> Option<&mut Service> {
        self.fleet.services.get_mut(name)
    }

    pub fn service_names(&self) -> Vec<ServiceName> {
        self.fleet.services.keys().cloned().collect()
    }

    /// Ids of the workers that satisfy `test`, so that the fleet can be changed while walking them.
    pub fn workers_where(&self, test: impl Fn(&crate::model::fleet::Worker) -> bool) -> Vec<WorkerId> {
        self.fleet.workers.iter().filter(|(_, w)| test(w)).map(|(id, _)| *id).collect()
    }

    pub fn note(&mut self, level: Level, event: &'static str, text: impl Into<String>) {
        let generation = self.fleet.rollover.as_ref().map(|r| r.generation);
        self.out.push(Action::Note(Note { generation, ..Note::new(level, event, text) }));
    }

    /// A note about a generation.
    pub fn note_generation(
        &mut self,
        level: Level,
        event: &'static str,
        generation: Generation,
        text: impl Into<String>,
    ) {
        let generation = Some(generation);
        self.out.push(Action::Note(Note { generation, ..Note::new(level, event, text) }));
    }

    pub fn note_service(
        &mut self,
        level: Level,
        event: &'static str,
        name: &ServiceName,
        text: impl Into<String>,
    ) {
        let service = Some(name.clone());
        self.out.push(Action::Note(Note { service, ..Note::new(level, event, text) }));
    }

    /// A note about one worker, which must still be in the fleet.
    pub fn note_worker(&mut self, level: Level, event: &'static str, id: WorkerId, text: impl Into<String>) {
        let worker = self.fleet.workers.get(&id);
        let note = Note {
            service: worker.map(|w| w.service.clone()),
            seat: worker.map(|w| w.seat),
            generation: worker.map(|w| w.generation),
            worker: Some(id),
            ..Note::new(level, event, text)
        };
        self.out.push(Action::Note(note));
    }

    /// Lets go of services without a config and a worker, and of plans that nobody lives by.
    pub fn tidy(&mut self) {
        let fleet = &mut *self.fleet;
        let staffed: BTreeSet<&ServiceName> = fleet.workers.values().map(|w| &w.service).collect();
        fleet.services.retain(|name, s| !s.removed || staffed.contains(name));
        let mut used: BTreeSet<PlanId> = fleet.workers.values().map(|w| w.plan).collect();
        used.extend(fleet.services.values().map(|s| s.plan));
        used.extend(fleet.rollover.as_ref().and_then(|r| r.plan));
        used.insert(fleet.plan);
        let unused: Vec<PlanId> = fleet.plans.keys().filter(|p| !used.contains(p)).copied().collect();
        for plan in unused {
            self.fleet.plans.remove(&plan);
            self.push(Action::DropPlan { plan });
        }
    }
}
