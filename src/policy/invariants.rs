//! What must hold after every decision, whatever happened. Asked by tests, never acted upon.
//!
//! Each check names what it found in one sentence. A rule that a decision may break for the length of
//! one turn does not belong here.

use crate::model::fleet::{Fleet, Hold, Service, Step, Worker};
use crate::model::{Phase, ServiceName, WorkerId};
use std::collections::BTreeSet;

impl Fleet {
    /// What must hold after every decision; the sentence names what does not.
    pub fn check_invariants(&self) -> Result<(), String> {
        let mut taken = BTreeSet::new();
        for (id, worker) in &self.workers {
            self.check_worker(*id, worker)?;
            let serves = matches!(worker.phase, Phase::Starting | Phase::Ready) && worker.tired.is_none();
            if serves && !taken.insert((&worker.service, worker.seat, worker.generation)) {
                let Worker { service, seat, generation, .. } = worker;
                return Err(format!("two workers hold {service}/{seat} in {generation}"));
            }
        }
        for (name, service) in &self.services {
            self.check_service(name, service)?;
        }
        self.check_rollover()
    }

    fn check_worker(&self, id: WorkerId, w: &Worker) -> Result<(), String> {
        if w.generation > self.last_generation || id > self.last_worker {
            return Err(format!("worker {id} is numbered beyond what was handed out"));
        }
        if self.plan_of(w).is_none() {
            return Err(format!("worker {id} lives by plan {} that is gone", w.plan));
        }
        let consistent = match w.phase {
            Phase::Starting => w.deadline.is_some() && w.drain.is_none() && w.ready_at.is_none(),
            Phase::Ready => w.deadline.is_none() && w.drain.is_none() && w.ready_at.is_some(),
            Phase::Draining => w.deadline.is_some() && w.drain.is_some(),
            Phase::Stopping => true,
            Phase::Dead => false,
        };
        if !consistent {
            return Err(format!(
                "worker {id} is {:?} with drain {:?}, until {:?}",
                w.phase, w.drain, w.deadline
            ));
        }
        let coming = self.rollover.as_ref().is_some_and(|r| r.generation == w.generation);
        let stays = matches!(w.phase, Phase::Starting | Phase::Ready);
        // A generation that is lost ends with its image, worker by worker.
        let lost = self.rollover.as_ref().is_some_and(|r| r.step == Step::Lost);
        if coming && !stays && !lost {
            return Err(format!("worker {id} of the generation coming up is {:?}", w.phase));
        }
        let place = self.services.get(&w.service).is_some_and(|s| !s.removed && w.seat.0 < s.wanted);
        if stays && !coming && !place {
            return Err(format!("worker {id} stays at {}/{}, which is no place", w.service, w.seat));
        }
        Ok(())
    }

    fn check_service(&self, name: &ServiceName, service: &Service) -> Result<(), String> {
        if self.service_plan(name).is_none() || service.generation > self.serving {
            return Err(format!("{name} is in force by a plan or a generation that is not"));
        }
        let tired = |(_, w): &(WorkerId, &Worker)| w.phase == Phase::Ready && w.tired.is_some();
        if self.workers_of(name).filter(tired).count() > 1 {
            return Err(format!("{name} has more than one tired worker"));
        }
        for (seat, trouble) in &service.trouble {
            let Some(rescuer) = trouble.rescuer else { continue };
            let fit = |w: &Worker| w.phase == Phase::Ready && w.service == *name && w.seat != *seat;
            if seat.0 >= service.wanted || !self.workers.get(&rescuer).is_some_and(fit) {
                return Err(format!("{name}/{seat} is rescued by {rescuer}, which can't"));
            }
        }
        let coming = self.rollover.as_ref().map(|r| r.generation);
        let stays = |w: &Worker| matches!(w.phase, Phase::Starting | Phase::Ready);
        let held = service.hold == Hold::Held;
        if held && self.workers_of(name).any(|(_, w)| stays(w) && Some(w.generation) != coming) {
            return Err(format!("{name} is held and has a worker that stays"));
        }
        match self.growing.get(name) {
            Some(growth) if growth.wanted <= service.wanted => Err(format!("{name} grows to fewer")),
            _ => Ok(()),
        }
    }

    fn check_rollover(&self) -> Result<(), String> {
        if self.serving > self.last_generation || !self.plans.contains_key(&self.plan) {
            return Err("what serves was never made".to_owned());
        }
        if let Some(name) = self.growing.keys().find(|name| !self.services.contains_key(*name)) {
            return Err(format!("{name} grows and is not there"));
        }
        let Some(rollover) = &self.rollover else {
            return Ok(());
        };
        if self.is_stopping() {
            return Err("a reload goes on during a stop".to_owned());
        }
        if rollover.plan.is_some_and(|plan| !self.plans.contains_key(&plan)) {
            return Err("the reload under way has lost its plan".to_owned());
        }
        let ours = |id| self.workers.get(id).is_some_and(|w| w.generation == rollover.generation);
        match rollover.current.iter().find(|id| !ours(id)) {
            Some(id) => Err(format!("the reload under way waits for worker {id}, which is gone")),
            None => Ok(()),
        }
    }
}
