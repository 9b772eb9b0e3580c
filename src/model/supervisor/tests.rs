//! The supervisor event by event, with the contract as the oracle: a table of every phase against every event, and one
//! scenario for each promise. `simulation` tries the orders that nobody thought of.

mod bench;
mod changes;
mod endings;
mod evidence;
mod jobs_in_line;
mod members;
mod recovery;
mod refusals;
mod sessions;
mod stuck;
mod table;
mod trouble;
mod tunnels;
