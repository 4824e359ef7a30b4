//! The hub against a server in this process that speaks the hub's download protocol.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tempfile::TempDir;

use super::{Hub, HubError};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const OLDER: &str = "89abcdef0123456789abcdef0123456789abcdef";
const CONFIG: &str = r#"{"model_type": "bert"}"#;

/// What a repository of the test has, by name.
type Files = BTreeMap<&'static str, Vec<u8>>;

/// The hub's side: `org/model` at [`COMMIT`] and, as `v1.0`, at [`OLDER`]; `org/moved`, which is called
/// `org/model` now; and `org/private`, the same for those who have the token.
struct Served {
    files: Files,
    url: String,
    requests: Mutex<Vec<String>>,
    /// End the next download of weights in the middle.
    breaks: AtomicBool,
}

struct TestHub {
    served: Arc<Served>,
    cache: TempDir,
    /// Serves until it is dropped.
    _runtime: tokio::runtime::Runtime,
}

impl TestHub {
    fn with(files: &[(&'static str, &[u8])]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener =
            runtime.block_on(async { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap() });
        let served = Arc::new(Served {
            files: files.iter().map(|(name, bytes)| (*name, bytes.to_vec())).collect(),
            url: format!("http://{}", listener.local_addr().unwrap()),
            requests: Mutex::default(),
            breaks: AtomicBool::new(false),
        });
        let router = Router::new().fallback(answer).with_state(served.clone());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { served, cache: tempfile::tempdir().unwrap(), _runtime: runtime }
    }

    fn hub(&self) -> Hub {
        Hub {
            endpoint: self.served.url.clone(),
            cache: self.cache.path().to_owned(),
            token: None,
            offline: false,
        }
    }

    fn resolve(&self, name: &str) -> Result<PathBuf, HubError> {
        self.hub().resolve(Path::new(name))
    }

    /// What was asked for since the last time.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.served.requests.lock().unwrap())
    }
}

async fn answer(State(served): State<Arc<Served>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let range =
        request.headers().get(header::RANGE).map(|range| range.to_str().unwrap().to_owned());
    let log = range.as_ref().map_or_else(|| path.clone(), |range| format!("{path} {range}"));
    served.requests.lock().unwrap().push(log);
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (repo, rest) = match parts.as_slice() {
        ["api", "models", "org", repo, "revision", _] | ["org", repo, "resolve", ..] => {
            (*repo, &parts[..])
        }
        ["cdn", file] => return part(&served, file, range.as_deref(), HeaderMap::new()),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let token = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    match repo {
        "model" => {}
        "moved" => {
            let to = path.replace("org/moved", "org/model");
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response();
        }
        "private" if token == Some(b"Bearer secret") => {}
        _ => return StatusCode::UNAUTHORIZED.into_response(),
    }
    match rest {
        ["api", _, _, _, _, revision @ ("main" | "v1.0" | COMMIT | OLDER)] => {
            let sha = if ["v1.0", OLDER].contains(revision) { OLDER } else { COMMIT };
            let siblings: Vec<_> =
                served.files.keys().map(|name| json!({"rfilename": name})).collect();
            let info = json!({"id": "org/model", "sha": sha, "siblings": siblings});
            ([(header::CONTENT_TYPE, "application/json")], info.to_string()).into_response()
        }
        [_, _, _, commit @ (COMMIT | OLDER), file] if served.files.contains_key(file) => {
            let mut headers = HeaderMap::new();
            headers.insert("x-repo-commit", commit.parse().unwrap());
            let etag = format!("\"etag-{file}-{}\"", served.files[file].len());
            if file.ends_with(".safetensors") {
                // As the hub does for large files.
                headers.insert("x-linked-etag", etag.parse().unwrap());
                let location = format!("{}/cdn/{file}", served.url);
                headers.insert(header::LOCATION, location.parse().unwrap());
                return (StatusCode::FOUND, headers).into_response();
            }
            headers.insert(header::ETAG, etag.parse().unwrap());
            part(&served, file, range.as_deref(), headers)
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The bytes of a file that `Range: bytes=A-B` or `bytes=A-` asks for.
fn part(served: &Served, file: &str, range: Option<&str>, mut headers: HeaderMap) -> Response {
    let bytes = &served.files[file];
    let (start, end) = range.unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let start: usize = start.parse().unwrap();
    let end = end.parse::<usize>().map_or(bytes.len(), |end| (end + 1).min(bytes.len()));
    let content_range = format!("bytes {start}-{}/{}", end - 1, bytes.len());
    headers.insert(header::CONTENT_RANGE, content_range.parse().unwrap());
    let slice = bytes[start..end].to_vec();
    let whole = start + 1 != end && file.ends_with(".safetensors");
    let body = if whole && served.breaks.swap(false, Ordering::SeqCst) {
        headers.insert(header::CONTENT_LENGTH, slice.len().into());
        let half = slice[..slice.len() / 2].to_vec();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            sender.send(Ok::<_, Infallible>(half)).await.unwrap();
            // Until the half is on its way: an error at once would overtake it.
            tokio::time::sleep(Duration::from_millis(200)).await;
        });
        Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver))
    } else {
        Body::from(slice)
    };
    (StatusCode::PARTIAL_CONTENT, headers, body).into_response()
}

/// A model, and what else lies around in repositories.
const MODEL: [(&str, &[u8]); 8] = [
    ("README.md", b"read me"),
    ("config.json", CONFIG.as_bytes()),
    ("flax_model.msgpack", b"flax"),
    ("model.safetensors", b"the weights, as far as these tests care"),
    ("pytorch_model.bin", b"the same again"),
    ("tokenizer.json", b"{}"),
    ("tokenizer_config.json", b"{ }"),
    ("vocab.txt", b"[PAD]"),
];

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_name_becomes_a_folder_of_what_a_model_needs_and_is_fetched_once() {
    let hub = TestHub::with(&MODEL);
    let folder = hub.resolve("org/model").unwrap();
    let needed = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(names_in(&folder), needed);
    for (name, bytes) in MODEL.iter().filter(|(name, _)| needed.contains(name)) {
        assert_eq!(fs::read(folder.join(name)).unwrap(), *bytes, "{name}");
    }
    let repo = hub.cache.path().join("models--org--model");
    assert_eq!(folder, repo.join("snapshots").join(COMMIT));
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    let asked = hub.requests().concat();
    assert!(!asked.contains("pytorch_model") && !asked.contains("vocab.txt"), "{asked}");

    assert_eq!(hub.resolve("org/model").unwrap(), folder);
    assert_eq!(hub.requests(), ["/api/models/org/model/revision/main"]);
}

#[test]
fn a_revision_has_a_folder_of_its_own_and_a_renamed_repository_is_followed() {
    let hub = TestHub::with(&MODEL);
    let folder = hub.resolve("org/model@v1.0").unwrap();
    assert!(folder.ends_with(format!("models--org--model/snapshots/{OLDER}")), "{folder:?}");
    let folder = hub.resolve("org/moved").unwrap();
    assert_eq!(fs::read_to_string(folder.join("config.json")).unwrap(), CONFIG);
}

#[test]
fn shards_come_with_their_index() {
    let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let hub = TestHub::with(&[
        ("config.json", CONFIG.as_bytes()),
        ("spiece.model", b"pieces"),
        ("model.safetensors.index.json", index),
        ("model-1.safetensors", b"first"),
        ("model-2.safetensors", b"second"),
        ("model-3.safetensors", b"of something else"),
    ]);
    let folder = hub.resolve("org/model").unwrap();
    assert_eq!(
        names_in(&folder),
        [
            "config.json",
            "model-1.safetensors",
            "model-2.safetensors",
            "model.safetensors.index.json",
            "spiece.model"
        ]
    );
    let offline = Hub { offline: true, ..hub.hub() };
    assert_eq!(offline.resolve(Path::new("org/model")).unwrap(), folder);
    fs::remove_file(folder.join("model-2.safetensors")).unwrap();
    let error = offline.resolve(Path::new("org/model")).unwrap_err().to_string();
    assert!(error.contains("model-2.safetensors of commit 0123"), "{error}");
}

#[test]
fn an_index_cannot_lead_out_of_its_folder() {
    let index = br#"{"weight_map": {"a": "../../elsewhere.safetensors"}}"#;
    let hub = TestHub::with(&[
        ("config.json", CONFIG.as_bytes()),
        ("tokenizer.json", b"{}"),
        ("model.safetensors.index.json", index),
    ]);
    let error = hub.resolve("org/model").unwrap_err().to_string();
    assert!(error.contains("no file name for a shard"), "{error}");
}

#[test]
fn offline_only_the_cache_is_used() {
    let hub = TestHub::with(&MODEL);
    let offline = Hub { offline: true, ..hub.hub() };
    let error = offline.resolve(Path::new("org/model")).unwrap_err().to_string();
    assert!(error.starts_with("org/model@main: revision main is not in the cache"), "{error}");
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");
    assert!(hub.requests().is_empty());

    let folder = hub.resolve("org/model").unwrap();
    hub.requests();
    assert_eq!(offline.resolve(Path::new("org/model")).unwrap(), folder);
    let by_commit = PathBuf::from(format!("org/model@{COMMIT}"));
    assert_eq!(offline.resolve(&by_commit).unwrap(), folder);
    assert!(hub.requests().is_empty());
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    let error = offline.resolve(Path::new("org/model")).unwrap_err().to_string();
    assert!(error.contains("model.safetensors"), "{error}");
}

#[test]
fn a_hub_out_of_reach_is_an_error_only_where_the_cache_has_not_everything() {
    let hub = TestHub::with(&MODEL);
    let folder = hub.resolve("org/model").unwrap();
    // Nothing listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let unreachable = Hub { endpoint: endpoint.clone(), ..hub.hub() };
    assert_eq!(unreachable.resolve(Path::new("org/model")).unwrap(), folder);
    let error = unreachable.resolve(Path::new("org/other")).unwrap_err().to_string();
    assert!(error.starts_with("org/other@main: its list of files cannot be had"), "{error}");
    assert!(error.contains(&endpoint) && error.contains("HF_ENDPOINT"), "{error}");
}

#[test]
fn what_the_hub_refuses_is_said_with_the_way_out() {
    let hub = TestHub::with(&MODEL);
    let error = hub.resolve("org/private").unwrap_err().to_string();
    assert!(error.contains("org/private@main") && error.contains("answered 401"), "{error}");
    assert!(error.contains(&hub.served.url) && error.contains("HF_TOKEN"), "{error}");
    let known = Hub { token: Some("secret".to_owned()), ..hub.hub() };
    assert!(known.resolve(Path::new("org/private")).unwrap().join("config.json").is_file());

    let error = hub.resolve("org/model@v9").unwrap_err().to_string();
    assert!(error.starts_with("org/model@v9: "), "{error}");
    assert!(error.contains("answered 404 for its list of files"), "{error}");
}

#[test]
fn a_repository_without_a_model_is_refused_before_anything_is_fetched() {
    for lacking in ["config.json", "model.safetensors", "tokenizer.json"] {
        let files: Vec<_> = (MODEL.into_iter())
            .filter(|(name, _)| {
                *name != lacking && !["pytorch_model.bin", "vocab.txt"].contains(name)
            })
            .collect();
        let hub = TestHub::with(&files);
        let error = hub.resolve("org/model").unwrap_err().to_string();
        assert!(error.contains(&format!("has no {lacking}")), "{error}");
        assert_eq!(hub.requests().len(), 1);
    }
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let hub = TestHub::with(&MODEL);
    hub.served.breaks.store(true, Ordering::SeqCst);
    let folder = hub.resolve("org/model").unwrap();
    let (_, weights) = MODEL[3];
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights);
    let half = format!("/cdn/model.safetensors bytes={}-", weights.len() / 2);
    let requests = hub.requests();
    assert!(requests.contains(&half), "{requests:?}");
}

#[test]
fn what_is_neither_folder_nor_name_is_refused_without_a_request() {
    let hub = TestHub::with(&MODEL);
    let error = hub.resolve("runs/teacher/best").unwrap_err().to_string();
    assert!(error.starts_with("runs/teacher/best: no such folder"), "{error}");
    let local = tempfile::tempdir().unwrap();
    assert_eq!(hub.hub().resolve(local.path()).unwrap(), local.path());
    assert!(hub.requests().is_empty());
}

#[test]
fn the_environment_names_the_hub_as_for_other_programs() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("token"), "from-login\n").unwrap();
    let hub = |variables: &[(&str, &str)]| {
        Hub::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    };
    let home = home.path().to_str().unwrap();
    let known = hub(&[("HF_HOME", home), ("HF_ENDPOINT", "https://mirror.test/")]).unwrap();
    assert_eq!(known.endpoint, "https://mirror.test");
    assert_eq!(known.cache, Path::new(home).join("hub"));
    assert_eq!(known.token.as_deref(), Some("from-login"));
    assert!(!known.offline);

    let set =
        [("HF_HOME", home), ("HF_TOKEN", "given"), ("HF_HUB_CACHE", "/c"), ("HF_HUB_OFFLINE", "1")];
    let set = hub(&set).unwrap();
    assert_eq!((set.token.as_deref(), set.offline), (Some("given"), true));
    assert_eq!(set.cache, Path::new("/c"));

    let default = hub(&[("HOME", "/home/ada")]).unwrap();
    assert_eq!(default.endpoint, "https://huggingface.co");
    assert_eq!(default.cache, Path::new("/home/ada/.cache/huggingface/hub"));
    assert_eq!(default.token, None);
    assert!(matches!(hub(&[]), Err(HubError::NoHome)));
}
