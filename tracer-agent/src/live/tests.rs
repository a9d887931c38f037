//! The driver against probes that are none: what the core is told, and in which order.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    mem::offset_of,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    sync::Arc,
};

use tracer_common::{
    layout::{
        Coroutines,
        process::{SELECTED, UNDECIDED},
    },
    record::{DataRecord, OpenRecord, ProcessRecord, data_flags, kind, process_event},
};

use super::*;
use crate::metrics::Family;
use crate::{
    capture::{Input, ProcessInfo, input::HostInfo, recording::WriteError},
    config::values::Level,
    discovery::Group,
    spans::Span,
    symbols::{GoProgram, Interpreter, Python},
};

/// What the core was told, in words.
#[derive(Clone, Default)]
struct Told(Rc<RefCell<Vec<String>>>);

impl Told {
    fn add(&self, input: &Input<'_>) {
        self.0.borrow_mut().push(match input {
            Input::Host(_) => "host".into(),
            Input::Record(bytes) => format!("record of {} bytes", bytes.len()),
            Input::Process(info) => format!("process {} {}", info.pid, info.service_name),
            Input::Lost { cause, count } => format!("lost {cause} {count}"),
            Input::Shed(shed) => format!("shed {} {}", shed.cpu, shed.memory),
            Input::Tick(at) => format!("tick {}", at.0),
            Input::End(_) => "end".into(),
        });
    }

    fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}

struct FakeCore {
    told: Told,
    deadline: Rc<Cell<Option<BootNanos>>>,
}

impl Core for FakeCore {
    fn push(&mut self, input: &Input<'_>, _: &mut Vec<Span>) {
        if let Input::Tick(_) = input {
            self.deadline.set(None);
        }
        self.told.add(input);
    }

    fn next_deadline(&self) -> Option<BootNanos> {
        self.deadline.get()
    }

    fn families(&mut self, _: BootNanos) -> Vec<Family> {
        Vec::new()
    }
}

struct FakeRecorder {
    told: Told,
    /// Inputs there is room for.
    room: usize,
    missing: u64,
}

impl Recorder for FakeRecorder {
    fn write(&mut self, input: &Input<'_>) -> Result<(), WriteError> {
        if self.room > 0 {
            self.room -= 1;
            self.told.add(input);
            return Ok(());
        }
        self.missing += 1;
        let source = io::ErrorKind::StorageFull.into();
        if self.missing == 1 {
            Err(WriteError::Write {
                path: "full".into(),
                source,
            })
        } else {
            Ok(())
        }
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    fn missing(&self) -> u64 {
        self.missing
    }
}

/// The service is the name that the kernel knows, or the number of the look.
struct FakeProcesses(Cell<u32>, RefCell<Vec<u32>>);

/// A process that is written in Go.
const GO: u32 = 27;
const PYTHON: u32 = 28;
const JAVA: u32 = 30;

impl Processes for FakeProcesses {
    fn lookup(&self, pid: u32, _: &str) -> ProcessInfo {
        self.0.set(self.0.get() + 1);
        ProcessInfo {
            pid,
            service_name: format!("look{}", self.0.get()),
            has_goroutines: pid == GO,
            exe: (pid == JAVA).then(|| "/opt/java/bin/java".to_owned()),
            ..ProcessInfo::default()
        }
    }

    fn runtime(&self, pid: u32) -> Option<Runtime> {
        let interpreter = || Interpreter {
            file: Arc::new(File::open("/proc/self/exe").unwrap()),
            python: Arc::new(Python {
                minor: 11,
                key: 592,
                context: 224,
                copies: None,
            }),
            coroutines: Coroutines {
                values: 1296,
                state: 8,
                context: 224,
            },
        };
        match pid {
            PYTHON => Some(Runtime::Python(interpreter())),
            JAVA => Some(Runtime::Java(None)),
            _ => None,
        }
    }

    /// Of the processes it began with more is known, once each has been looked up.
    fn known_better(&self) -> Vec<ProcessInfo> {
        if self.0.get() == 0 {
            return Vec::new();
        }
        let pids = self.1.take().into_iter();
        pids.map(|pid| self.lookup(pid, "")).collect()
    }

    fn go(&self, pid: u32) -> Option<Go> {
        (pid == GO).then(|| Go {
            file: Arc::new(File::open("/proc/self/exe").unwrap()),
            program: Arc::new(GoProgram {
                version: "go1.99".into(),
                goroutines: None,
                hooks: Vec::new(),
                grpc: None,
            }),
        })
    }
}

struct FakeProbes {
    ring: OwnedFd,
    records: Vec<Vec<u8>>,
    losses: Vec<(Loss, u64)>,
    /// Asked to end once all records are taken.
    stop: Stop,
    judged: Rc<RefCell<Vec<String>>>,
    /// Before the run.
    selected: Vec<u32>,
}

impl Probes for FakeProbes {
    fn ring(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    fn ring_bytes(&self) -> u32 {
        4096
    }

    fn drain(&mut self, most: usize, each: &mut dyn FnMut(&[u8])) -> usize {
        let count = most.min(self.records.len());
        self.records.drain(..count).for_each(|record| each(&record));
        self.stop.ask();
        count
    }

    fn said(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn losses(&self) -> Vec<(Loss, u64)> {
        self.losses.clone()
    }

    fn settle(&mut self) {}

    fn judge(&mut self, pid: u32, verdict: Verdict) -> io::Result<bool> {
        if pid == 13 {
            return Err(io::Error::other("the process map is full"));
        }
        self.judged
            .borrow_mut()
            .push(format!("process {pid} {verdict:?}"));
        Ok(true)
    }

    fn answer(&mut self, pid: u32, verdict: Verdict) -> io::Result<bool> {
        self.judge(pid, verdict)
    }

    fn place(&mut self, group: u64, verdict: Verdict) -> io::Result<()> {
        self.judged
            .borrow_mut()
            .push(format!("group {group} {verdict:?}"));
        Ok(())
    }

    fn forget(&mut self, pid: u32) -> io::Result<()> {
        self.judged.borrow_mut().push(format!("process {pid} forgotten"));
        Ok(())
    }

    fn learn(&mut self, exe: Exe, verdict: Verdict) -> io::Result<()> {
        self.judged
            .borrow_mut()
            .push(format!("file {} {verdict:?}", exe.inode));
        Ok(())
    }

    fn selected(&self) -> Vec<u32> {
        self.selected.clone()
    }

    fn follow(&mut self, pid: u32, _: &Go) -> io::Result<()> {
        self.judged.borrow_mut().push(format!("process {pid} followed"));
        Err(io::Error::other("it is too new"))
    }

    fn tell_apart(&mut self, pid: u32, runtime: &Runtime) -> io::Result<()> {
        let by = match runtime {
            Runtime::Python(python) => format!("at {}", python.coroutines.context),
            Runtime::Java(threads) => format!("by {threads:?}"),
            Runtime::Tokio(tokio) => format!("by tasks {} in front", tokio.program.distance),
        };
        self.judged
            .borrow_mut()
            .push(format!("process {pid} told apart {by}"));
        Ok(())
    }

    fn look(&mut self, _: u32) {}

    fn unfollow(&mut self, pid: u32) {
        if pid == GO {
            self.judged.borrow_mut().push(format!("process {pid} unfollowed"));
        }
    }
}

/// Every third process is selected by its program, the one after it excluded. Process `n` runs file `70 + n`.
struct FakePrograms(Vec<u32>, Option<Verdict>);

impl Programs for FakePrograms {
    fn verdict(&self, pid: u32) -> Verdict {
        match pid % 3 {
            0 => Verdict::Selected,
            1 => Verdict::Excluded,
            _ => Verdict::Passed,
        }
    }

    fn place(&self, _: u32) -> Option<Verdict> {
        self.1
    }

    fn inode(&self, pid: u32) -> Option<u64> {
        Some(70 + u64::from(pid))
    }

    fn everyone(&self) -> Vec<u32> {
        self.0.clone()
    }
}

fn process(event: u32, pid: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [
        kind::PROCESS,
        u32::try_from(size_of::<ProcessRecord>()).unwrap(),
        1,
        0,
        event,
        pid,
        1,
        0,
    ] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(*b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    bytes
}

fn open(pid: u32) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<OpenRecord>()];
    let length = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&kind::OPEN.to_ne_bytes());
    bytes[4..8].copy_from_slice(&length.to_ne_bytes());
    bytes[32..36].copy_from_slice(&pid.to_ne_bytes());
    bytes
}

/// A process has sent something, in this turn of an event loop and this coroutine.
fn sent(pid: u32, turn: u32, coroutine: u64) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<DataRecord>()];
    let length = u32::try_from(bytes.len()).unwrap();
    let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
    put(0, &kind::DATA.to_ne_bytes());
    put(4, &length.to_ne_bytes());
    put(offset_of!(DataRecord, tgid), &pid.to_ne_bytes());
    put(offset_of!(DataRecord, tid), &pid.to_ne_bytes());
    put(offset_of!(DataRecord, flags), &data_flags::SENT.to_ne_bytes());
    put(offset_of!(DataRecord, turn), &turn.to_ne_bytes());
    put(offset_of!(DataRecord, maker), &coroutine.to_ne_bytes());
    bytes
}

struct Run {
    told: Vec<String>,
    recorded: Vec<String>,
    judged: Vec<String>,
    tally: Tally,
}

fn run(records: Vec<Vec<u8>>, losses: Vec<(Loss, u64)>, room: usize, found: &[u32]) -> Run {
    run_at(Some(Verdict::Passed), records, losses, room, found)
}

fn run_at(
    place: Option<Verdict>,
    records: Vec<Vec<u8>>,
    losses: Vec<(Loss, u64)>,
    room: usize,
    found: &[u32],
) -> Run {
    let (told, recorded, judged) = (Told::default(), Told::default(), Rc::default());
    let stop = Stop::new().unwrap();
    let deadline = Rc::new(Cell::new(Some(BootNanos(5))));
    let log = Log::new(Level::Error, io::sink());
    let mut feed = Feed::new(
        (
            FakeCore {
                told: told.clone(),
                deadline,
            },
            FakeProcesses(Cell::new(0), RefCell::new(vec![4, 5])),
        ),
        Some(Box::new(FakeRecorder {
            told: recorded.clone(),
            room,
            missing: 0,
        })),
        vec![],
        |_| {},
        &log,
    );
    feed.host(HostInfo::default());
    let probes = FakeProbes {
        ring: Stop::new().unwrap().asked().try_clone_to_owned().unwrap(),
        records,
        losses,
        stop: stop.clone(),
        judged: Rc::clone(&judged),
        selected: found.to_vec(),
    };
    let judge = Judge::new(FakePrograms(found.to_vec(), place));
    let live = Live::new(probes, feed, Some(judge), &log, || BootNanos(7));
    let (tally, outcome) = live.run(&stop);
    outcome.unwrap();
    Run {
        told: told.lines(),
        recorded: recorded.lines(),
        judged: judged.take(),
        tally,
    }
}

#[test]
fn the_host_comes_first_the_losses_before_the_end_and_the_end_last() {
    let run = run(
        vec![process(process_event::SELECTED, 4)],
        vec![(Loss::RingFull, 3)],
        99,
        &[],
    );
    assert_eq!(
        run.told,
        [
            "host",
            "record of 48 bytes",
            "process 4 look1",
            "tick 7",
            "lost 0 3",
            "end"
        ]
    );
}

#[test]
fn a_process_is_told_before_the_first_record_that_needs_it() {
    let run = run(vec![open(4), open(4), open(5)], vec![], 99, &[]);
    let record = "record of 112 bytes";
    assert_eq!(
        run.told[..6],
        [
            "host",
            "process 4 look1",
            record,
            record,
            "process 5 look2",
            record
        ]
    );
}

#[test]
fn a_process_is_told_again_after_it_has_become_another_program() {
    let records = vec![
        process(process_event::SELECTED, 1),
        process(process_event::EXEC, 1),
        process(process_event::EXIT, 1),
        process(process_event::SELECTED, 1),
    ];
    let run = run(records, vec![], 99, &[]);
    let record = "record of 48 bytes";
    assert_eq!(
        run.told[..8],
        [
            "host",
            record,
            "process 1 look1",
            record,
            "process 1 look2",
            record,
            record,
            "process 1 look3"
        ]
    );
    assert_eq!(run.tally.alive, [1]);
}

#[test]
fn a_child_is_what_its_parent_is_and_looked_up_only_where_that_is_not_known() {
    let child_of_1 = process(process_event::FORK, 4);
    let run = run(vec![child_of_1.clone(), open(4)], vec![], 99, &[]);
    let of_unknown = run.told[1..4].to_vec();
    assert_eq!(
        of_unknown,
        ["record of 48 bytes", "process 4 look1", "record of 112 bytes"]
    );
    let run = self::run(
        vec![process(process_event::SELECTED, 1), child_of_1, open(4)],
        vec![],
        99,
        &[],
    );
    assert_eq!(run.told[3..5], ["record of 48 bytes", "record of 112 bytes"]);
}

#[test]
fn the_recording_holds_what_the_core_was_told() {
    let run = run(
        vec![process(process_event::FORK, 4), vec![9; 3]],
        vec![(Loss::Unseen, 1)],
        99,
        &[],
    );
    assert_eq!(run.recorded, run.told);
}

#[test]
fn a_recording_that_fails_ends_there_and_tracing_goes_on() {
    let run = run(vec![open(4)], vec![], 2, &[]);
    assert_eq!(run.recorded, ["host", "process 4 look1"]);
    assert_eq!(run.told.len(), 5);
    assert_eq!(run.tally.unrecorded, 3);
}

#[test]
fn after_records_were_lost_everyone_is_judged_and_one_that_cannot_be_stops_nothing() {
    let run = run(vec![], vec![(Loss::RingFull, 1)], 99, &[12, 13, 14]);
    assert_eq!(run.judged, ["process 12 Selected", "process 14 forgotten"]);
}

#[test]
fn where_the_place_of_a_process_cannot_be_told_the_kernel_side_judges_it() {
    let run = run_at(None, vec![], vec![(Loss::RingFull, 1)], 99, &[12, 14, 16]);
    assert_eq!(
        run.judged,
        [
            "process 12 forgotten",
            "process 14 forgotten",
            "process 16 Excluded"
        ]
    );
}

#[test]
fn a_question_is_answered_and_nobody_else_hears_of_it() {
    let ask = |pid: u32, inode: u64, place: u8| {
        let head = [kind::ASK, 32].map(u32::to_ne_bytes).concat();
        let rest = [7, 1, pid, u32::from(place)].map(u32::to_ne_bytes).concat();
        [head, inode.to_ne_bytes().to_vec(), rest].concat()
    };
    let asked = vec![
        ask(9, 79, UNDECIDED),
        ask(11, 81, UNDECIDED),
        ask(11, 81, SELECTED),
        ask(10, 80, SELECTED),
        // It runs something else by now.
        ask(12, 99, UNDECIDED),
    ];
    let run = run(asked, vec![], 99, &[]);
    assert_eq!(
        run.judged,
        [
            "process 9 Selected",
            "file 79 Selected",
            "process 11 Passed",
            "file 81 Passed",
            "process 11 Selected",
            "file 81 Passed",
            "process 10 Excluded",
            "file 80 Excluded",
            "process 12 Selected"
        ]
    );
    assert_eq!(run.told, ["host", "tick 7", "end"]);
}

#[test]
fn a_go_program_is_followed_from_its_start_to_its_end() {
    let records = vec![
        process(process_event::EXEC, GO),
        open(GO),
        process(process_event::EXIT, GO),
    ];
    let run = run(records, vec![], 0, &[1, GO]);
    assert_eq!(
        run.judged,
        [
            "process 27 followed",
            "process 27 unfollowed",
            "process 27 followed",
            "process 27 unfollowed"
        ]
    );
}

#[test]
fn a_process_that_runs_an_event_loop_is_asked_for_its_coroutines_once() {
    let other = 29;
    let records = vec![
        sent(PYTHON, 0, 0),
        sent(PYTHON, 1, 0),
        sent(PYTHON, 2, 0),
        sent(other, 1, 0),
        process(process_event::EXEC, PYTHON),
        sent(PYTHON, 3, 0),
        sent(PYTHON, 4, 99),
    ];
    let run = run(records, vec![], 0, &[]);
    let told = "process 28 told apart at 224";
    assert_eq!(run.judged, [told, told]);
}

#[test]
fn java_is_looked_at_when_it_is_launched_and_when_it_has_loaded_what_it_runs_in() {
    let records = vec![
        process(process_event::EXEC, JAVA),
        sent(JAVA, 0, 0),
        sent(JAVA, 0, 0),
        process(process_event::EXIT, JAVA),
    ];
    let run = run(records, vec![], 0, &[]);
    let told = "process 30 told apart by None";
    assert_eq!(run.judged, [told, told]);
}

#[test]
fn what_a_process_says_of_itself_is_stronger_than_what_the_agent_adds() {
    use crate::capture::input::AttributeValue::Text;

    struct Known;
    impl Processes for Known {
        fn lookup(&self, pid: u32, _: &str) -> ProcessInfo {
            ProcessInfo {
                pid,
                resource: vec![("team".into(), Text("own".into()))],
                ..ProcessInfo::default()
            }
        }

        fn go(&self, _: u32) -> Option<Go> {
            None
        }
    }
    struct Keep(Rc<RefCell<Vec<ProcessInfo>>>);
    impl Core for Keep {
        fn push(&mut self, input: &Input<'_>, _: &mut Vec<Span>) {
            if let Input::Process(info) = input {
                self.0.borrow_mut().push((**info).clone());
            }
        }

        fn next_deadline(&self) -> Option<BootNanos> {
            None
        }

        fn families(&mut self, _: BootNanos) -> Vec<Family> {
            Vec::new()
        }
    }
    let (infos, log) = (Rc::default(), Log::new(Level::Error, io::sink()));
    let added = vec![("team".into(), "agent".into()), ("zone".into(), "a".into())];
    let mut feed = Feed::new((Keep(Rc::clone(&infos)), Known), None, added, |_| {}, &log);
    feed.record(&open(4));
    assert_eq!(
        infos.take()[0].resource,
        [
            ("team".into(), Text("own".into())),
            ("zone".into(), Text("a".into()))
        ]
    );
}

#[test]
fn a_process_of_which_more_is_known_later_is_told_again_and_only_one_that_is_told() {
    let told = Told::default();
    let log = Log::new(Level::Error, io::sink());
    let core = FakeCore {
        told: told.clone(),
        deadline: Rc::default(),
    };
    let processes = FakeProcesses(Cell::new(0), RefCell::new(vec![4, 5]));
    let mut feed = Feed::new((core, processes), None, vec![], |_| {}, &log);
    feed.learn();
    feed.record(&open(4));
    feed.learn();
    feed.learn();
    feed.record(&open(4));
    let opened = format!("record of {} bytes", size_of::<OpenRecord>());
    assert_eq!(
        told.lines(),
        ["process 4 look1", &opened, "process 4 look2", &opened]
    );
}

/// Two groups: one came, one went.
struct FakeGroups(OwnedFd, Vec<Group>);

impl Groups for FakeGroups {
    fn changed(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn judged(&mut self) -> Vec<Group> {
        std::mem::take(&mut self.1)
    }

    fn members(&self, group: &Group) -> Vec<u32> {
        vec![u32::try_from(group.id).unwrap() + 100]
    }
}

#[test]
fn a_group_is_judged_by_the_kernel_side_before_who_is_in_it_is() {
    let judged = Rc::default();
    let stop = Stop::new().unwrap();
    let mut probes = FakeProbes {
        ring: stop.asked().try_clone_to_owned().unwrap(),
        records: vec![],
        losses: vec![],
        stop: stop.clone(),
        judged: Rc::clone(&judged),
        selected: vec![],
    };
    let log = Log::new(Level::Error, io::sink());
    let came = Group::new(1, Verdict::Selected, "a");
    let went = Group::new(2, Verdict::Passed, "b");
    let file = stop.asked().try_clone_to_owned().unwrap();
    selection::place(&mut FakeGroups(file, vec![came, went]), &mut probes, &log);
    assert_eq!(
        judged.take(),
        ["group 1 Selected", "process 101 Selected", "group 2 Passed"]
    );
}

mod panics;
