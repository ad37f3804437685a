//! Drains: what is open ends by itself, or at the deadline; the verbs that ask for one.

mod classes;
mod deadline;
mod idle;
mod upstream;
mod verbs;
