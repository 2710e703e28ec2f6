//! What people see while they wait, and the tables at the end.

pub mod numbers;
pub mod progress;
pub mod table;
