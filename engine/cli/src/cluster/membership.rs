//! How this daemon stands among those that work with its database: it leads, or it watches whoever does and takes over.
//! Invariant: a leader acts for [`LEASE`] after its last heartbeat began and no longer; a taker sees none for [`TAKE`] on its own steady clock, or
//! knows by the folder's lock that the last leader is gone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hookwright_core::Clock;
use hookwright_core::port::{Leadership, Standing};
use hookwright_store::{Candidate, Error as StoreError, Leader, Store};
use tokio::time::error::Elapsed;
use tracing::{error, info, warn};

use super::again::Sockets;
use super::folder::DataFolder;

/// How often the leader gives a sign of life, and others look.
const BEAT: Duration = Duration::from_secs(1);

/// How long the leader acts after its last sign of life.
const LEASE: Duration = Duration::from_secs(8);

/// How long others see none before one of them takes over; more than [`LEASE`] by more than clocks drift and an answer takes.
const TAKE: Duration = Duration::from_secs(12);

/// The same when the machine has been started anew since, so that nobody can be there but a copy of the machine.
const TAKE_AFTER_REBOOT: Duration = Duration::from_secs(3);

/// How long the database may take for a heartbeat.
const ANSWER: Duration = Duration::from_secs(3);

/// How long a taker waits for the folder before it ends who holds it, and how often it looks.
const GRACE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

/// How long a start takes at most to find out whether it leads; it follows meanwhile otherwise.
const START: Duration = Duration::from_secs(4);

/// How long a start bears with a database that answers, but too slowly.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a member is.
pub(crate) struct MemberOptions {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) folder: Arc<DataFolder>,
    /// Whether it leads with a folder that is not the one that was led with before.
    pub(crate) claims: bool,
    /// Names this process.
    pub(crate) holder: String,
    pub(crate) sockets: Arc<Sockets>,
}

/// Where a daemon is reached.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: String,
    pub(crate) gateway_address: String,
}

/// This daemon among those of its database. Cloning it clones a handle.
#[derive(Clone)]
pub(crate) struct Member {
    inner: Arc<Inner>,
}

struct Inner {
    options: MemberOptions,
    standing: RwLock<Standing>,
    place: OnceLock<Place>,
    /// Until when this daemon may act, in milliseconds of its steady clock.
    until: AtomicU64,
    /// Whether the folder's lock is had along with the lease.
    has_folder: AtomicBool,
}

/// A heartbeat as a taker sees it.
#[derive(Clone, Copy)]
struct Seen {
    epoch: u64,
    beat: u64,
    since: Duration,
}

impl Leadership for Member {
    fn standing(&self) -> Standing {
        self.inner.standing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn may_act(&self) -> bool {
        if self.inner.has_folder.load(Ordering::SeqCst) {
            return self.now() < self.inner.until.load(Ordering::SeqCst);
        }
        self.standing() == Standing::Alone
    }
}

impl Member {
    /// One that is alone with its database, or follows until [`start`](Self::start) has looked.
    pub(crate) fn new(options: MemberOptions) -> Self {
        let standing =
            if options.store.is_shared() { Standing::Follows { leader: None, gateway: None, unfit: None } } else { Standing::Alone };
        let (standing, until) = (RwLock::new(standing), AtomicU64::new(0));
        Self { inner: Arc::new(Inner { options, standing, place: OnceLock::new(), until, has_folder: AtomicBool::new(false) }) }
    }

    /// Looks whether somebody leads, and leads if nobody does. Returns whether this daemon leads, without a doubt or not at all.
    pub(crate) async fn start(&self, place: Place) -> Result<bool> {
        // There is one start.
        let _ = self.inner.place.set(place);
        if self.standing() == Standing::Alone {
            return Ok(true);
        }
        let first = self.inner.options.clock.monotonic();
        let (mut begun, mut seen) = (first, None);
        loop {
            let before = seen.map(|seen: Seen| seen.beat);
            match self.look(&mut seen).await {
                Ok(true) => {
                    self.have_folder().await;
                    return Ok(true);
                }
                Ok(false) => {}
                Err(failure) => {
                    begun = self.inner.options.clock.monotonic();
                    if !failure.is::<Elapsed>() || begun.saturating_sub(first) > PATIENCE {
                        return Err(failure);
                    }
                    warn!("{failure:#}; it is asked again");
                    continue;
                }
            }
            let beats = before.is_some() && before != seen.map(|seen| seen.beat);
            let late = self.inner.options.clock.monotonic().saturating_sub(begun) > START;
            if beats || late || self.is_unfit() {
                return Ok(false);
            }
            tokio::time::sleep(LOOK * 4).await;
        }
    }

    /// Watches until this daemon leads; the folder is had then.
    pub(crate) async fn until_it_leads(&self) {
        let (mut seen, mut told) = (None, false);
        loop {
            match self.look(&mut seen).await {
                Ok(true) => return self.have_folder().await,
                Ok(false) => told = false,
                Err(failure) => {
                    // A leader that could not give signs of life either is not held to have been silent.
                    seen = None;
                    if !std::mem::replace(&mut told, true) {
                        warn!(%failure, "it is not known who leads; the database is asked again every second");
                    }
                }
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Gives signs of life as long as it is polled; leaves nothing of what this process believed when somebody else leads.
    pub(crate) async fn keep_leading(&self) {
        if self.standing() == Standing::Alone {
            return;
        }
        let mut silent = false;
        loop {
            tokio::time::sleep(BEAT).await;
            let asked = self.now();
            let beat = tokio::time::timeout(ANSWER, self.inner.options.store.leadership_beat()).await;
            match beat {
                Ok(Ok(true)) => {
                    self.inner.until.store(asked + millis(LEASE), Ordering::SeqCst);
                    if std::mem::take(&mut silent) {
                        info!("this daemon leads on: the database answers again, and nobody took over meanwhile");
                    }
                    continue;
                }
                Ok(Ok(false) | Err(StoreError::NotLeading)) => self.begin_anew("another daemon leads now"),
                Ok(Err(_)) | Err(_) => {}
            }
            if !self.may_act() && !std::mem::replace(&mut silent, true) {
                warn!(
                    "the database does not answer: nothing is started, ended or delivered until it does; handlers are reached as they were"
                );
            }
            if self.has_been_asked_for_the_folder() {
                self.begin_anew("another daemon has taken the lease and asks for the data folder");
            }
        }
    }

    /// Lets go at the end, so that others need not wait.
    pub(crate) async fn leave(&self) {
        if !self.inner.has_folder.load(Ordering::SeqCst) {
            return;
        }
        self.inner.until.store(0, Ordering::SeqCst);
        if let Ok(Err(failure)) = tokio::time::timeout(ANSWER, self.inner.options.store.leadership_release()).await {
            warn!(%failure, "the lease could not be given back; another daemon waits until it is over");
        }
        self.inner.options.folder.unlock();
    }

    /// Leaves nothing of what this process believed.
    pub(crate) fn begin_anew(&self, why: &str) -> ! {
        error!("{why}: this one stops acting and begins anew as one that follows");
        self.inner.options.sockets.begin_anew()
    }

    /// Leads from the moment on that everything is ready to be led.
    pub(crate) fn has_begun_to_lead(&self) {
        if self.standing() != Standing::Alone {
            self.set(Standing::Leads);
            info!("this daemon leads");
        }
    }

    /// Looks once; `true` when the lease is this daemon's now.
    async fn look(&self, seen: &mut Option<Seen>) -> Result<bool> {
        let MemberOptions { store, folder, holder, .. } = &self.inner.options;
        let row = tokio::time::timeout(ANSWER, store.leadership_fetch()).await;
        let row = row.with_context(|| format!("the database did not say within {} s who leads", ANSWER.as_secs()))??;
        let Some(row) = row else { return Ok(false) };
        let unfit = self.unfit(&row);
        let follows = |row: &Leader| {
            let known = row.holder.is_some() && row.holder.as_ref() != Some(holder);
            let (leader, gateway) = if known { (row.address.clone(), row.gateway_address.clone()) } else { (None, None) };
            Standing::Follows { leader, gateway, unfit: unfit.clone() }
        };
        self.set(follows(&row));
        let now = self.inner.options.clock.monotonic();
        let known = seen.filter(|seen| (seen.epoch, seen.beat) == (row.epoch, row.beat));
        let since = known.map_or(now, |seen| seen.since);
        *seen = Some(Seen { epoch: row.epoch, beat: row.beat, since });
        if unfit.is_some() || !self.may_take(&row, now.saturating_sub(since))? {
            return Ok(false);
        }
        let Some(place) = self.inner.place.get() else { return Ok(false) };
        let candidate = Candidate {
            holder: holder.clone(),
            address: place.address.clone(),
            gateway_address: place.gateway_address.clone(),
            folder: folder.id().to_owned(),
            folder_lock: folder.lock_place(),
        };
        let asked = self.now();
        if !store.leadership_take(&row, &candidate).await? {
            folder.unlock();
            return Ok(false);
        }
        self.inner.until.store(asked + millis(LEASE), Ordering::SeqCst);
        info!(epoch = row.epoch + 1, "this daemon has the lease");
        Ok(true)
    }

    /// Whether the last leader is gone, or has been silent for long enough.
    fn may_take(&self, row: &Leader, silent: Duration) -> Result<bool> {
        let folder = &self.inner.options.folder;
        if row.holder.is_none() || silent >= TAKE {
            return Ok(true);
        }
        let Some(place) = &row.folder_lock else { return Ok(silent >= TAKE) };
        let own = folder.lock_place();
        if *place == own {
            // Whoever led held this very lock: had it, they are gone.
            return folder.try_lock();
        }
        Ok(silent >= TAKE_AFTER_REBOOT && was_rebooted(place, &own))
    }

    /// Why this daemon cannot lead.
    fn unfit(&self, row: &Leader) -> Option<String> {
        let MemberOptions { folder, claims, .. } = &self.inner.options;
        let other = row.folder.as_ref().is_some_and(|led| led != folder.id());
        (other && !claims).then(|| {
            format!(
                "its data folder `{}` is another one than that of the leader, so it takes events in and does not lead; \
                 `cluster.claim` of the settings makes it lead when the other folder is lost",
                folder.path().display()
            )
        })
    }

    fn is_unfit(&self) -> bool {
        matches!(self.standing(), Standing::Follows { unfit: Some(_), .. })
    }

    /// Waits for the folder's lock; who has lost the lease and does not let go of it is ended.
    async fn have_folder(&self) {
        let MemberOptions { folder, store, clock, .. } = &self.inner.options;
        let mut asked = clock.monotonic();
        let mut beaten = asked;
        loop {
            match folder.try_lock() {
                Ok(true) => {
                    folder.stop_asking();
                    self.inner.has_folder.store(true, Ordering::SeqCst);
                    return;
                }
                Ok(false) => folder.ask_for(store.leadership_epoch()),
                Err(failure) => error!(%failure, "the lock of the data folder cannot be asked for"),
            }
            let now = clock.monotonic();
            if now.saturating_sub(asked) > GRACE {
                asked = now;
                folder.end_holder();
            }
            if now.saturating_sub(beaten) > BEAT {
                beaten = now;
                self.beat_once().await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A sign of life while the folder is waited for.
    async fn beat_once(&self) {
        let asked = self.now();
        match tokio::time::timeout(ANSWER, self.inner.options.store.leadership_beat()).await {
            Ok(Ok(true)) => self.inner.until.store(asked + millis(LEASE), Ordering::SeqCst),
            Ok(Ok(false)) => self.begin_anew("another daemon leads now"),
            Ok(Err(_)) | Err(_) => {}
        }
    }

    fn has_been_asked_for_the_folder(&self) -> bool {
        let MemberOptions { folder, store, .. } = &self.inner.options;
        !self.may_act() && folder.asked_for().is_some_and(|epoch| epoch > store.leadership_epoch())
    }

    fn set(&self, standing: Standing) {
        *self.inner.standing.write().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    fn now(&self) -> u64 {
        millis(self.inner.options.clock.monotonic())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether two places of a lock are the same machine, started anew in between.
fn was_rebooted(before: &str, now: &str) -> bool {
    let parts = |place: &str| place.split_once('/').map(|(machine, rest)| (machine.to_owned(), rest.split('/').next().map(str::to_owned)));
    match (parts(before), parts(now)) {
        (Some((machine, boot)), Some((same, other))) => !machine.is_empty() && machine == same && boot != other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use hookwright_store::{SecretKey, StoreOptions};
    use hookwright_testkit::Database;

    use super::*;
    use crate::system::{SystemClock, UuidV7};

    /// What `psql` prints for a statement.
    fn asked(url: &str, statement: &str) -> String {
        let output = Command::new("psql").args(["-X", "-t", "-A", "-c", statement]).arg(url).output().expect("psql runs");
        String::from_utf8(output.stdout).expect("a text").trim().to_owned()
    }

    /// Waits until `psql` prints something.
    async fn until(url: &str, statement: &str) -> String {
        let begun = tokio::time::Instant::now();
        loop {
            let said = asked(url, statement);
            if !said.is_empty() {
                return said;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for: {statement}");
            tokio::time::sleep(LOOK).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_start_bears_with_a_database_that_is_slow_to_say_who_leads() {
        let Some(database) = Database::of_the_environment() else { return };
        let (folder, url) = (tempfile::tempdir().expect("a folder"), database.url());
        let (clock, ids): (Arc<dyn Clock>, _) = (Arc::new(SystemClock::new()), Arc::new(UuidV7::new()));
        let key = SecretKey::load_or_create(&folder.path().join("key")).expect("a key");
        let data = Arc::new(DataFolder::open(&folder.path().join("data"), &*ids).expect("a data folder"));
        let store = Store::open(StoreOptions { url: url.clone(), clock: clock.clone(), ids, key, failpoint: None }).await.expect("a store");
        let sockets = Arc::default();
        let options = MemberOptions { store: store.clone(), clock, folder: data, claims: false, holder: "this".to_owned(), sockets };
        let member = Member::new(options);

        let lock = "BEGIN; LOCK TABLE leadership IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)";
        let mut holder = Command::new("psql").args(["-X", "-q", "-c", lock]).arg(&url).spawn().expect("psql runs");
        let held = "SELECT pid FROM pg_locks WHERE relation = 'leadership'::regclass AND mode = 'AccessExclusiveLock' AND granted";
        let pid = until(&url, held).await;
        let place = Place { address: "http://127.0.0.1:1".to_owned(), gateway_address: "http://127.0.0.1:1".to_owned() };
        let starting = tokio::spawn({
            let member = member.clone();
            async move { member.start(place).await }
        });
        // A second question waits: the first one was given up, and the start was not.
        until(&url, "SELECT 1 FROM pg_locks WHERE relation = 'leadership'::regclass AND NOT granted HAVING count(*) > 1").await;
        asked(&url, &format!("SELECT pg_terminate_backend({pid})"));
        assert!(starting.await.expect("no panic").expect("a start"), "nobody else leads");
        holder.wait().expect("an end");
        store.close().await;
    }

    #[test]
    fn a_machine_that_was_started_anew_is_told_from_another_one() {
        assert!(was_rebooted("m/first/8/1", "m/second/9/1"));
        assert!(!was_rebooted("m/first/8/1", "m/first/8/2"), "another folder on the running machine");
        assert!(!was_rebooted("m/first/8/1", "n/second/8/1"));
        assert!(!was_rebooted("/first/8/1", "/second/8/1"), "machines without an id are not told apart");
    }
}
