//! The figures of the README. `make bench` runs all; `cargo bench -p hongbaod --bench figures -- NAME...` runs some.
//! `daemon/benches/README.md` says how each is measured. Every measurement is printed as one line of JSON; the table comes last.

mod control;
mod host;
mod load;
mod process;
mod server;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hongbaod::preflight::memory::kernel_bytes;
use host::Steering;
use load::Load;
use process::Running;
use serde_json::{Value, json};
use server::{Scrape, Server};

/// Measurements of each contestant; the median counts.
const ALTERNATIONS: usize = 5;

/// Connections and rate of the headline figures.
const CONNECTIONS: u32 = 18_000;
const RATE: u32 = 60_000;

/// A row of the table.
struct Row {
    name: &'static str,
    value: f64,
    unit: &'static str,
    must: f64,
    aim: f64,
    /// Whether more is better.
    more: bool,
}

type Bench = fn(&Path) -> Vec<Row>;

const BENCHES: [(&str, Bench); 7] = [
    ("cpu", cpu_per_request),
    ("threads", shared_threads),
    ("saturation", saturation),
    ("latency", latency),
    ("wins", durable_wins),
    ("memory", memory),
    ("seeds", seed_generation),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--serve-as-control") {
        return control::serve();
    }
    let unknown = arguments.iter().find(|argument| BENCHES.iter().all(|(name, _)| name != argument));
    assert!(unknown.is_none(), "no figure is named {unknown:?}: {:?}", BENCHES.map(|(name, _)| name));
    let folder = std::env::temp_dir().join(format!("hongbao-bench-{}", std::process::id()));
    let mut rows = Vec::new();
    for (name, bench) in BENCHES {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            eprintln!("{name} ...");
            std::fs::create_dir_all(&folder).expect("a temporary folder");
            rows.extend(bench(&folder));
            std::fs::remove_dir_all(&folder).expect("ours to remove");
        }
    }
    print_table(&rows);
}

fn print_table(rows: &[Row]) {
    println!("\n| what | measured | must | aim |\n|---|---|---|---|");
    for row in rows {
        let (sign, good) =
            if row.more { ("at least", row.value >= row.must) } else { ("at most", row.value <= row.must) };
        let verdict = if good { "" } else { " (MISSED)" };
        println!(
            "| {} | {}{}{verdict} | {sign} {} | {} |",
            row.name,
            number(row.value),
            row.unit,
            number(row.must),
            number(row.aim)
        );
    }
}

fn number(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn tell(line: &Value) {
    println!("{line}");
}

/// hongbaod with one SET, no interval between shakes, and stock at the mission's 200 a second.
fn one_set(folder: &Path, connections: u32) -> Server {
    with_seeds(folder, &["--sets", "1", "--connections-per-set", &connections.to_string()])
}

/// hongbaod of this shape, on one core, with a campaign of its own.
fn with_seeds(folder: &Path, shape: &[&str]) -> Server {
    let seeds = folder.join("seeds");
    if !seeds.exists() {
        server::seeds(&seeds, 1_000_000);
    }
    let seed_dir = seeds.join("server-01");
    let run = folder.join(format!("run-{}", now_us()));
    let free = ["--issue-rate", "200/s", "--min-shake-interval", "0s"];
    let seeds = ["--seed-dir", seed_dir.to_str().expect("a plain path")];
    server::hongbaod(&run, &[shape, &free, &seeds].concat())
}

fn now_us() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros()
}

/// What a server has used at one moment.
#[derive(Clone, Copy)]
struct Sample {
    unix_us: u128,
    cpu_ns: u64,
    user_ticks: u64,
    system_ticks: u64,
}

/// A run, with the server's CPU time sampled beside it.
struct Sampled {
    report: Value,
    samples: Vec<Sample>,
}

impl Sampled {
    fn run(server: &Server, load: &Load) -> Self {
        // Read while it is written: a pipe takes 64 KiB, and a report may be larger.
        let child = load.start();
        let report = std::thread::spawn(move || load::report(child));
        let pid = server.running.pid();
        let mut samples = Vec::new();
        while !report.is_finished() {
            let (user_ticks, system_ticks) = process::user_and_system_ticks(pid);
            samples.push(Sample { unix_us: now_us(), cpu_ns: process::cpu_ns(pid), user_ticks, system_ticks });
            std::thread::sleep(Duration::from_millis(100));
        }
        Self { report: report.join().expect("a report"), samples }
    }

    /// The first and the last sample inside the measured stage, half a second from its ends.
    fn window(&self) -> (Sample, Sample) {
        let seconds = |field: &str| self.report[field].as_f64().expect("a duration") * 1e6;
        // The load begins with the warm-up.
        let begin = u128::from(self.report["begun_unix_us"].as_u64().expect("a time"));
        let end = begin + (seconds("warm_up_s") + seconds("duration_s")) as u128 - 500_000;
        let begin = begin + seconds("warm_up_s") as u128 + 500_000;
        let inside: Vec<_> = self.samples.iter().filter(|sample| (begin..=end).contains(&sample.unix_us)).collect();
        (**inside.first().expect("samples"), **inside.last().expect("samples"))
    }

    fn cpu_us_per_request(&self) -> f64 {
        let (first, last) = self.window();
        let requests = self.report["rate_qps"].as_f64().expect("a rate") * (last.unix_us - first.unix_us) as f64 / 1e6;
        (last.cpu_ns - first.cpu_ns) as f64 / 1e3 / requests
    }

    fn user_share(&self) -> f64 {
        let (first, last) = self.window();
        let user = (last.user_ticks - first.user_ticks) as f64;
        user / (user + (last.system_ticks - first.system_ticks) as f64)
    }

    fn tell(&self, what: &str, contestant: &str) {
        let report = &self.report;
        tell(&json!({
            "figure": what, "contestant": contestant, "valid": report["valid"], "invalid_reasons": report["invalid_reasons"],
            "rate_qps": report["rate_qps"], "latency_us": report["latency_us"], "cpu_us_per_request": self.cpu_us_per_request(),
            "loadgen_cpu": report["cpu"],
        }));
    }
}

fn open_loop(server: &Server, duration_s: u32) -> Load {
    Load {
        target: server.address.clone(),
        connections: CONNECTIONS,
        // Eighteen thousand people do not shake in step: arrivals are independent, sent within 0.02 ms of their time: a longer tick would batch them for a server that wakes for each.
        flags: ["--rate", &RATE.to_string(), "--schedule", "poisson", "--tick", "20us"].map(String::from).into(),
        duration_s,
        warm_up_s: 2,
    }
}

fn closed_loop(server: &Server, duration_s: u32) -> Load {
    Load {
        target: server.address.clone(),
        connections: 1000,
        flags: ["--schedule", "closed", "--cap-per-user", "0", "--cap-per-sponsor", "0"].map(String::from).into(),
        duration_s,
        warm_up_s: 1,
    }
}

/// Paired runs at the headline's rate: (ours, control) in microseconds of CPU a request, and our enters a request.
fn paired_cpu(folder: &Path, what: &str) -> (f64, f64, f64) {
    let (mut ours, mut control, mut enters) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ALTERNATIONS {
        let server = one_set(folder, CONNECTIONS);
        let before = Scrape::take(&server);
        let sampled = Sampled::run(&server, &open_loop(&server, 8));
        let after = Scrape::take(&server);
        let delta = |metric, label| after.sum(metric, label) - before.sum(metric, label);
        // The ramp's enters are counted too, which is to our disadvantage.
        enters.push(delta("hongbao_ring_enters_total", "") / delta("hongbao_requests_total", "kind=\"shake\""));
        sampled.tell(what, "hongbaod");
        ours.push(sampled.cpu_us_per_request());
        server.running.stop();

        let server = server::control();
        let sampled = Sampled::run(&server, &open_loop(&server, 8));
        sampled.tell(what, "control");
        control.push(sampled.cpu_us_per_request());
    }
    let (ours, control, enters) = (median(ours), median(control), median(enters));
    tell(&json!({"figure": what, "hongbaod_us": ours, "control_us": control, "ratio": ours / control}));
    (ours, control, enters)
}

/// Does a paired measurement twice: with receive flow steering, where that is permitted, and without.
fn with_and_without_steering<T>(what: &str, mut measure: impl FnMut(&str) -> T) -> (Option<T>, T) {
    let steered = Steering::turn_on().map(|_on_until_dropped| measure(what));
    if steered.is_none() {
        eprintln!("receive flow steering cannot be turned on here (needs root): only the figures without it");
    }
    (steered, measure(&format!("{what}-unsteered")))
}

fn cpu_per_request(folder: &Path) -> Vec<Row> {
    let row = |name, value, must, aim| Row { name, value, unit: "", must, aim, more: false };
    let (steered, unsteered) = with_and_without_steering("cpu", |what| paired_cpu(folder, what));
    let name = "daemon CPU per request at 60,000 QPS over 18,000 connections, by the epoll control's";
    let mut rows: Vec<Row> =
        steered.map(|(ours, control, _)| row(name, ours / control, 0.80, 0.60)).into_iter().collect();
    let (ours, control, enters) = unsteered;
    rows.push(row("... with the receiver's work charged to the sender (no flow steering)", ours / control, 0.80, 0.60));
    rows.push(row("enters per request at 60,000 QPS, one SET", enters, 0.10, 0.03));
    rows
}

/// A million connections here are 26 SETs a core, as a ring's table is bounded by the limit of open files: so many SETs with a thread that comes by
/// at each, against a thread for each with the longest budget that served it best.
fn shared_threads(folder: &Path) -> Vec<Row> {
    const SETS: [&str; 4] = ["--sets", "26", "--connections-per-set", "1200"];
    let contestants = [
        ("shared", ["--set-threads", "1", "--latency-budget", "1250us"]),
        ("each", ["--set-threads", "26", "--latency-budget", "5ms"]),
    ];
    let (mut cpu, mut p99) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for _ in 0..ALTERNATIONS {
        for (index, (name, flags)) in contestants.iter().enumerate() {
            let server = with_seeds(folder, &[SETS, *flags].concat());
            let sampled = Sampled::run(&server, &open_loop(&server, 8));
            sampled.tell("threads", name);
            cpu[index].push(sampled.cpu_us_per_request());
            p99[index].push(sampled.report["latency_us"]["p99"].as_f64().expect("a quantile"));
            server.running.stop();
        }
    }
    let ratio = |[shared, each]: [Vec<f64>; 2]| median(shared) / median(each);
    let row = |name, value| Row { name, value, unit: "", must: 1.0, aim: 0.7, more: false };
    vec![
        row("daemon CPU per request, 26 SETs on a core: one thread for all, by a thread for each", ratio(cpu)),
        row("... p99 from the intended time", ratio(p99)),
    ]
}

/// Paired closed loops: (ours, control) in requests a second, and our user share in percent.
fn paired_saturation(folder: &Path, what: &str) -> (f64, f64, f64) {
    let (mut ours, mut control, mut user) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ALTERNATIONS {
        let server = one_set(folder, 1000);
        let sampled = Sampled::run(&server, &closed_loop(&server, 5));
        sampled.tell(what, "hongbaod");
        ours.push(sampled.report["rate_qps"].as_f64().expect("a rate"));
        user.push(sampled.user_share() * 100.0);
        server.running.stop();

        let server = server::control();
        let sampled = Sampled::run(&server, &closed_loop(&server, 5));
        sampled.tell(what, "control");
        control.push(sampled.report["rate_qps"].as_f64().expect("a rate"));
    }
    let (ours, control, user) = (median(ours), median(control), median(user));
    tell(&json!({"figure": what, "hongbaod_qps": ours, "control_qps": control, "ratio": ours / control}));
    (ours, control, user)
}

fn saturation(folder: &Path) -> Vec<Row> {
    let row = |name, value| Row { name, value, unit: "", must: 1.0, aim: 1.3, more: true };
    let (steered, unsteered) = with_and_without_steering("saturation", |what| paired_saturation(folder, what));
    let name = "requests per second at saturation, one SET, 1,000 connections, by the epoll control's";
    let mut rows: Vec<Row> = steered.map(|(ours, control, _)| row(name, ours / control)).into_iter().collect();
    let (ours, control, user) = unsteered;
    rows.push(row("... with the receiver's work charged to the sender (no flow steering)", ours / control));
    rows.push(Row {
        name: "user CPU share of the daemon at saturation",
        value: user,
        unit: " %",
        must: 10.0,
        aim: 5.0,
        more: false,
    });
    rows
}

fn latency(folder: &Path) -> Vec<Row> {
    let mut p99 = Vec::new();
    for _ in 0..3 {
        let server = one_set(folder, CONNECTIONS);
        let report = load::report(open_loop(&server, 30).start());
        server.running.stop();
        tell(&json!({"figure": "latency", "valid": report["valid"], "invalid_reasons": report["invalid_reasons"],
            "latency_us": report["latency_us"], "requests": report["requests"], "audit": report["audit"]}));
        assert_eq!(report["valid"], true, "only a valid run counts");
        p99.push(report["latency_us"]["p99"].as_f64().expect("a quantile") / 1000.0);
    }
    vec![Row {
        name: "p99 from the intended time at 60,000 QPS over 18,000 connections, 30 s",
        value: median(p99),
        unit: " ms",
        must: 10.0,
        aim: 3.0,
        more: false,
    }]
}

fn durable_wins(folder: &Path) -> Vec<Row> {
    let seeds = folder.join("seeds");
    server::seeds(&seeds, 4_000_000);
    let seed_dir = seeds.join("server-01").to_str().expect("a plain path").to_string();
    let mut rates = Vec::new();
    for run in 0..3 {
        let flags = ["--sets", "1", "--connections-per-set", "2000", "--issue-rate", "unlimited"];
        let free = [
            "--min-shake-interval",
            "0s",
            "--cap-per-user",
            "unlimited",
            "--cap-per-sponsor",
            "unlimited",
            "--seed-dir",
            &seed_dir,
        ];
        let server = server::hongbaod(&folder.join(format!("wins-{run}")), &[flags.as_slice(), &free].concat());
        let load = Load { connections: 2000, ..closed_loop(&server, 5) };
        let report = load::report(load.start());
        server.running.stop();
        let wins = report["requests"]["by_outcome"]["envelope"].as_f64().expect("a count");
        rates.push(wins / report["duration_s"].as_f64().expect("a duration"));
        tell(&json!({"figure": "wins", "requests": report["requests"], "audit": report["audit"],
            "latency_us": report["latency_us"], "wins_per_second": rates.last()}));
    }
    vec![Row {
        name: "durable wins per second through the whole daemon, every shake wins",
        value: median(rates),
        unit: "",
        must: 50_000.0,
        aim: 150_000.0,
        more: true,
    }]
}

fn memory(folder: &Path) -> Vec<Row> {
    let server = one_set(folder, CONNECTIONS);
    // What a scrape costs is not what a connection costs.
    (0..5).for_each(|_| drop(Scrape::take(&server)));
    let none = process::resident_bytes(server.running.pid());
    let slabs_none = host::slab_bytes();
    let load = Load { flags: vec!["--rate".into(), "1".into()], warm_up_s: 0, ..open_loop(&server, 4) };
    let child = Running(load.start());
    let deadline = Instant::now() + Duration::from_secs(30);
    while Scrape::take(&server).sum("hongbao_users_online", "") < f64::from(CONNECTIONS) {
        assert!(Instant::now() < deadline, "18,000 users online");
        std::thread::sleep(Duration::from_millis(50));
    }
    let idle = process::resident_bytes(server.running.pid());
    let slabs = host::slab_bytes().zip(slabs_none).map(|(idle, none)| idle.saturating_sub(none));
    drop(child);
    tell(&json!({"figure": "memory", "resident_bytes_none": none, "resident_bytes_idle": idle, "slab_bytes": slabs}));
    let resident = Row {
        name: "resident memory with 18,000 idle connections, over that with none",
        value: (idle - none) as f64 / 1e6,
        unit: " MB",
        must: 4.0,
        aim: 2.0,
        more: false,
    };
    // Both ends are on this machine, and the load generator's are direct and armed as well.
    let kernel = slabs.map(|bytes| Row {
        name: "kernel memory of an idle connection, by what `preflight` says of it",
        value: bytes as f64 / f64::from(2 * CONNECTIONS) / kernel_bytes(true) as f64,
        unit: "",
        must: 1.1,
        aim: 1.0,
        more: false,
    });
    std::iter::once(resident).chain(kernel).collect()
}

fn seed_generation(folder: &Path) -> Vec<Row> {
    let mut seconds = Vec::new();
    for run in 0..3 {
        let begin = Instant::now();
        let output = folder.join(format!("ten-million-{run}"));
        server::seeds(&output, 10_000_000);
        seconds.push(begin.elapsed().as_secs_f64());
        std::fs::remove_dir_all(output).expect("ours to remove");
        tell(&json!({"figure": "seeds", "seconds": seconds.last()}));
    }
    vec![Row {
        name: "seed generation, ten million envelopes",
        value: median(seconds),
        unit: " s",
        must: 10.0,
        aim: 3.0,
        more: false,
    }]
}
