//! Several daemons on one PostgreSQL: one leads, all take events in.
//!
//! Leading takes two things: the lease (a row of the database with a heartbeat, [`membership`]) and the lock of the data folder that is led with
//! ([`folder`]). A leader that cannot renew its lease stops acting before anybody else may take it; one that has lost it begins anew in place
//! ([`again`]), which leaves nothing of what it believed. A taker acts only once it has both, and ends a process that hangs on the folder.

mod again;
mod fenced;
mod folder;
mod membership;

pub(crate) use again::{Sockets, begins_anew, reap_inherited};
pub(crate) use fenced::Fenced;
pub(crate) use folder::DataFolder;
pub(crate) use membership::{Member, MemberOptions, Place};
