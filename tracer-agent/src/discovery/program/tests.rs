//! The table of names: a command line and what the program is called.

use proptest::prelude::*;

use super::{Program, ProgramName};

fn identify(exe: &str, argv: &[&str]) -> Program {
    let argv: Vec<String> = argv.iter().map(|argument| (*argument).to_owned()).collect();
    Program::identify(Some(exe), &argv).unwrap()
}

fn assert_known(table: &[(&str, &[&str], &str)]) {
    for (exe, argv, name) in table {
        let found = identify(exe, argv);
        assert_eq!(found.name, ProgramName::Known((*name).to_owned()), "{argv:?}");
    }
}

#[test]
fn an_executable_is_called_by_its_file_name() {
    assert_known(&[
        ("/usr/sbin/nginx", &["nginx: worker process"], "nginx"),
        (
            "/usr/sbin/nginx",
            &["nginx: master process /usr/sbin/nginx -g daemon off;"],
            "nginx",
        ),
        ("/opt/shop/gateway", &["./gateway", "--listen", "8080"], "gateway"),
        (
            "/usr/lib/postgresql/15/bin/postgres",
            &["postgres: checkpointer "],
            "postgres",
        ),
        ("/usr/sbin/php-fpm8.2", &["php-fpm: pool www"], "php-fpm8.2"),
        ("/memfd:runc", &["runc", "init"], "runc"),
        ("/usr/bin/redis-server", &["redis-server *:6379"], "redis-server"),
        ("/opt/7zip/7", &["7"], "7"),
        ("/bin/busybox", &["/usr/sbin/httpd", "-f"], "httpd"),
        ("/bin/busybox", &["-sh"], "sh"),
    ]);
}

#[test]
fn python_is_called_by_its_script_or_module() {
    assert_known(&[
        ("/usr/bin/python3.11", &["python", "app.py"], "app"),
        (
            "/usr/bin/python3.11",
            &["python3", "-u", "/srv/shop/app.py", "--port", "80"],
            "app",
        ),
        (
            "/usr/bin/python3.11",
            &["python", "-X", "dev", "-W", "ignore", "app.py"],
            "app",
        ),
        (
            "/usr/bin/python3.11",
            &["python", "-Xdev", "-Wignore", "-OO", "app.py"],
            "app",
        ),
        ("/usr/bin/python3.11", &["python", "-m", "shop.api"], "shop.api"),
        (
            "/usr/bin/python3.11",
            &["python", "-um", "shop.api", "-c", "x"],
            "shop.api",
        ),
        ("/usr/bin/python3.11", &["python", "-mshop.__main__"], "shop"),
        (
            "/usr/bin/python3.11",
            &["python", "-m", "http.server", "8000"],
            "http.server",
        ),
        (
            "/usr/bin/python3.11",
            &["python", "-c", "import shop; shop.run()"],
            "python",
        ),
        ("/usr/bin/python3.11", &["python", "-"], "python"),
        ("/usr/bin/python3.11", &["python"], "python"),
        ("/usr/bin/python3.11", &["python", "-m"], "python"),
        (
            "/usr/bin/python3.11",
            &["python", "--check-hash-based-pycs", "never", "app.py"],
            "app",
        ),
        (
            "/usr/bin/python3.11",
            &["python", "/srv/shop/__main__.py"],
            "shop",
        ),
        ("/usr/bin/python3.11", &["python", "shop/"], "shop"),
        ("/usr/bin/python3.11", &["python", "shop.pyz"], "shop"),
        ("/usr/bin/pypy3.10", &["pypy3", "worker.py"], "worker"),
        (
            "/usr/bin/python3",
            &["/usr/bin/python3", "/usr/local/bin/shop-api"],
            "shop-api",
        ),
    ]);
}

#[test]
fn python_servers_are_called_by_the_application_they_serve() {
    let python = "/usr/bin/python3.11";
    assert_known(&[
        (
            python,
            &["python", "/venv/bin/uvicorn", "shop.main:app"],
            "shop.main",
        ),
        (
            python,
            &[
                "python",
                "/venv/bin/uvicorn",
                "--host",
                "0.0.0.0",
                "shop.main:create()",
                "--factory",
            ],
            "shop.main",
        ),
        (
            python,
            &["python", "-m", "uvicorn", "shop.main:app", "--port", "80"],
            "shop.main",
        ),
        (
            python,
            &[
                "python",
                "/venv/bin/gunicorn",
                "-w",
                "4",
                "-b",
                "localhost:8000",
                "shop.wsgi:app",
            ],
            "shop.wsgi",
        ),
        (
            python,
            &[
                "python",
                "/venv/bin/gunicorn",
                "-c",
                "python:shop.conf",
                "shop.wsgi",
            ],
            "shop.wsgi",
        ),
        (
            python,
            &["python", "/venv/bin/gunicorn", "shop.wsgi", "-w", "4"],
            "shop.wsgi",
        ),
        (
            python,
            &["python", "/venv/bin/gunicorn", "--workers=4", "shop.wsgi"],
            "shop.wsgi",
        ),
        (
            python,
            &["python", "/venv/bin/gunicorn", "--workers", "four"],
            "gunicorn",
        ),
        (python, &["gunicorn: master [shop.wsgi:app]"], "shop.wsgi"),
        (python, &["gunicorn: worker [shop]"], "shop"),
        (
            python,
            &["python", "/venv/bin/celery", "-A", "shop.tasks", "worker"],
            "shop.tasks",
        ),
        (
            python,
            &["python", "/venv/bin/celery", "--app=shop", "worker"],
            "shop",
        ),
        (
            python,
            &["python", "-m", "flask", "--app", "shop/web.py", "run"],
            "web",
        ),
        (python, &["python", "-m", "flask", "run"], "flask"),
        (python, &["python", "-m", "flask", "--app"], "flask"),
    ]);
}

#[test]
fn java_is_called_by_its_jar_class_or_module() {
    let java = "/usr/lib/jvm/java-17-openjdk-amd64/bin/java";
    assert_known(&[
        (java, &["java", "-jar", "x.jar"], "x"),
        (
            java,
            &[
                "java",
                "-Xmx1g",
                "-Dfoo=bar",
                "-jar",
                "/opt/shop-api-1.4.2-SNAPSHOT.jar",
                "-p",
                "80",
            ],
            "shop-api",
        ),
        (java, &["java", "-jar", "shop-v2.jar"], "shop-v2"),
        (java, &["java", "com.acme.Main"], "com.acme.Main"),
        (
            java,
            &["java", "-cp", "/opt/lib/*", "com.acme.Main", "-jar", "no.jar"],
            "com.acme.Main",
        ),
        (
            java,
            &[
                "java",
                "--add-opens",
                "java.base/java.lang=ALL-UNNAMED",
                "@args",
                "com.acme.Main",
            ],
            "com.acme.Main",
        ),
        (
            java,
            &["java", "-p", "mods", "-m", "shop.api/com.acme.Main"],
            "shop.api",
        ),
        (java, &["java", "--module=shop.api"], "shop.api"),
        (java, &["java", "src/Shop.java"], "Shop"),
        (java, &["java", "-jar"], "java"),
        (java, &["java", "-version"], "java"),
    ]);
}

#[test]
fn other_interpreters_are_called_by_their_script() {
    assert_known(&[
        (
            "/usr/bin/ruby3.1",
            &["ruby", "-Ilib", "-r", "json", "-W0", "shop.rb"],
            "shop",
        ),
        ("/usr/bin/ruby", &["ruby", "-e", "puts 1"], "ruby"),
        ("/usr/bin/ruby", &["puma: cluster worker 0: 7 [shop]"], "shop"),
        (
            "/usr/bin/ruby",
            &["puma 6.4.0 (tcp://0.0.0.0:9292) [shop]"],
            "shop",
        ),
        (
            "/usr/bin/php8.2",
            &[
                "php",
                "-d",
                "x=1",
                "-S",
                "127.0.0.1:80",
                "-t",
                "public",
                "router.php",
            ],
            "router",
        ),
        ("/usr/bin/php8.2", &["php", "-S", "127.0.0.1:80"], "php"),
        ("/usr/bin/php8.2", &["php", "-f", "shop.php"], "shop"),
        (
            "/usr/bin/perl",
            &["perl", "-I", "lib", "-MCarp", "-w", "shop.pl"],
            "shop",
        ),
        ("/usr/bin/perl", &["perl", "-ne", "print"], "perl"),
        (
            "/usr/bin/dotnet",
            &["dotnet", "exec", "/app/Shop.Api.dll"],
            "Shop.Api",
        ),
        ("/usr/bin/dotnet", &["dotnet", "run"], "dotnet"),
        ("/usr/bin/dash", &["sh", "-e", "./start.sh"], "start"),
        ("/usr/bin/bash", &["bash", "-c", "exec something"], "bash"),
        ("/usr/bin/bash", &["-bash"], "bash"),
        ("/usr/bin/node", &["node", "-e", "1"], "node"),
        ("/usr/bin/node", &["node"], "node"),
    ]);
}

#[test]
fn node_is_called_by_the_package_around_its_script() {
    for (argv, script) in [
        (&["node", "server.js"][..], Some("server.js")),
        (
            &[
                "node",
                "-r",
                "dotenv/config",
                "--inspect",
                "/srv/server.js",
                "-p",
                "80",
            ],
            Some("/srv/server.js"),
        ),
        (&["node", "--import", "./hook.mjs", "."], Some(".")),
        (&["node /srv/server.js"], Some("/srv/server.js")),
        (&["/usr/bin/node /srv/server.js"], Some("/srv/server.js")),
        (&["npm start"], None),
        (&["next-server (v14.1.0)"], None),
    ] {
        let script = script.map(ToOwned::to_owned);
        assert_eq!(
            identify("/usr/bin/node", argv).name,
            ProgramName::Package { script },
            "{argv:?}"
        );
    }
    let script = Some("server.ts".to_owned());
    let argv = ["deno", "run", "--allow-net", "server.ts"];
    assert_eq!(
        identify("/usr/bin/deno", &argv).name,
        ProgramName::Package { script }
    );
    assert_eq!(
        identify("/usr/bin/bun", &["bun", "run", "start"]).name,
        ProgramName::Package { script: None }
    );
}

#[test]
fn a_launcher_that_every_project_has_gives_way_to_the_folder() {
    for (exe, argv, script) in [
        (
            "/usr/bin/python3",
            &["python", "/srv/shop/manage.py", "runserver"][..],
            Some("/srv/shop/manage.py"),
        ),
        ("/usr/bin/python3", &["python", "__main__.py"], None),
        ("/usr/bin/python3", &["python", "."], None),
        ("/usr/bin/ruby", &["ruby", "bin/rails", "server"], None),
        ("/usr/bin/php", &["php", "artisan", "serve"], Some("artisan")),
    ] {
        let script = script.map(ToOwned::to_owned);
        assert_eq!(
            identify(exe, argv).name,
            ProgramName::Folder { script },
            "{argv:?}"
        );
    }
}

#[test]
fn a_multiprocessing_worker_is_called_like_its_parent() {
    let argv = [
        "python",
        "-c",
        "from multiprocessing.spawn import spawn_main; spawn_main()",
        "--multiprocessing-fork",
    ];
    assert_eq!(identify("/usr/bin/python3", &argv).name, ProgramName::OfParent);
}

#[test]
fn without_an_executable_the_called_name_serves() {
    let argv = |called: &str| vec![called.to_owned()];
    let name = |called| Program::identify(None, &argv(called)).map(|program| program.name);
    assert_eq!(name("/usr/bin/shop"), Some(ProgramName::Known("shop".to_owned())));
    assert_eq!(
        name("nginx: worker process"),
        Some(ProgramName::Known("nginx".to_owned()))
    );
    assert_eq!(name(""), None);
    assert_eq!(Program::identify(None, &[]), None);
}

#[test]
fn the_runtime_is_named_where_it_is_evident() {
    assert_eq!(
        identify("/usr/bin/python3.11", &["python", "app.py"]).runtime,
        Some("cpython")
    );
    assert_eq!(
        identify("/usr/bin/node", &["node", "app.js"]).runtime,
        Some("nodejs")
    );
    assert_eq!(identify("/usr/bin/java", &["java", "Main"]).runtime, None);
    assert_eq!(identify("/opt/gateway", &["gateway"]).runtime, None);
}

proptest! {
    #[test]
    fn whatever_the_command_line_a_known_name_is_never_empty(
        exe in prop_oneof![
            Just("/usr/bin/python3"), Just("/usr/bin/node"), Just("/usr/bin/java"), Just("/usr/bin/ruby"),
            Just("/usr/bin/php"), Just("/usr/bin/perl"), Just("/bin/sh"), Just("/usr/bin/dotnet"),
            Just("/bin/busybox"), Just("/usr/bin/deno"), Just("/opt/shop"),
        ],
        argv in proptest::collection::vec(
            prop_oneof!["-[a-zA-Z0-9]{0,4}", "--[a-z]{0,6}=?", "[a-z./:\\[\\] ]{0,8}", "\\PC{0,6}", Just("-m".to_owned()),
                Just("uvicorn".to_owned()), Just("-jar".to_owned()), Just("__main__.py".to_owned())],
            0..6,
        ),
    ) {
        let program = Program::identify(Some(exe), &argv).unwrap();
        prop_assert!(!program.fallback.is_empty());
        if let ProgramName::Known(name) = program.name {
            prop_assert!(!name.is_empty(), "{argv:?}");
        }
    }
}
