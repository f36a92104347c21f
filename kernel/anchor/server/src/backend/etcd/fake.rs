//! A fake of etcd's gateway: transactions over a map, and one thing that goes wrong at a time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What happens to a transaction.
pub(in crate::backend) enum Turn {
    /// It is carried out, and answered.
    Well,
    /// It is carried out, and the answer is lost.
    LosesAnswer,
    /// It is not carried out.
    Fails,
    /// This comes before it, of another.
    After(Box<dyn FnOnce(&mut Store) + Send>),
    /// It is answered so, and not carried out.
    Says(String),
}

#[derive(Clone, Default)]
pub(in crate::backend) struct Row {
    pub(in crate::backend) value: Vec<u8>,
    made: u64,
    changed: u64,
}

/// What all members have.
pub(in crate::backend) struct Store {
    pub(in crate::backend) rows: BTreeMap<Vec<u8>, Row>,
    pub(in crate::backend) revision: u64,
    pub(in crate::backend) cluster: u64,
    /// The transactions to come; when there are none, all go well.
    pub(in crate::backend) turns: VecDeque<Turn>,
    pub(in crate::backend) asked: Vec<Value>,
}

impl Store {
    pub(in crate::backend) fn new() -> Arc<Mutex<Self>> {
        let (rows, turns, asked) = (BTreeMap::new(), VecDeque::new(), Vec::new());
        Arc::new(Mutex::new(Self { rows, revision: 1, cluster: 7, turns, asked }))
    }

    pub(in crate::backend) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.revision += 1;
        self.put_now(key.to_vec(), value.to_vec());
    }

    fn put_now(&mut self, key: Vec<u8>, value: Vec<u8>) {
        let revision = self.revision;
        let row = self.rows.entry(key).or_insert(Row { value: Vec::new(), made: revision, changed: 0 });
        (row.value, row.changed) = (value, revision);
    }

    fn in_range(&self, of: &Value) -> Vec<(Vec<u8>, Row)> {
        let first = octets(&of["key"]);
        let is_in = |key: &[u8]| match of.get("range_end") {
            Some(end) => key >= &first[..] && key < &octets(end)[..],
            None => key == first,
        };
        self.rows.iter().filter(|(key, _)| is_in(key)).map(|(key, row)| (key.clone(), row.clone())).collect()
    }

    fn is_so(&self, compare: &Value) -> bool {
        let mut rows: Vec<Row> = self.in_range(compare).into_iter().map(|(_, row)| row).collect();
        if rows.is_empty() {
            // As etcd: what is not there is of revision 0, and has no value.
            if compare["target"] == "VALUE" {
                return false;
            }
            rows.push(Row::default());
        }
        let number = |name: &str| compare[name].as_str().unwrap().parse::<u64>().unwrap();
        rows.iter().all(|row| match (compare["target"].as_str(), compare["result"].as_str()) {
            (Some("MOD"), Some("EQUAL")) => row.changed == number("mod_revision"),
            (Some("CREATE"), Some("LESS")) => row.made < number("create_revision"),
            (Some("VALUE"), Some("EQUAL")) => row.value == octets(&compare["value"]),
            other => panic!("{other:?}"),
        })
    }

    fn carry_out(&mut self, txn: &Value) -> Value {
        let succeeded = txn["compare"].as_array().unwrap().iter().all(|compare| self.is_so(compare));
        let todo = txn[if succeeded { "success" } else { "failure" }].as_array().unwrap();
        let writes = todo.iter().any(|one| one.get("request_range").is_none());
        self.revision += u64::from(writes);
        let responses: Vec<Value> = todo.iter().map(|one| self.do_one(one)).collect();
        let header = json!({ "cluster_id": self.cluster.to_string(), "revision": self.revision.to_string() });
        json!({ "header": header, "succeeded": succeeded, "responses": responses })
    }

    fn do_one(&mut self, one: &Value) -> Value {
        if let Some(put) = one.get("request_put") {
            self.put_now(octets(&put["key"]), octets(&put["value"]));
            return json!({ "response_put": {} });
        }
        if let Some(range) = one.get("request_delete_range") {
            for (key, _) in self.in_range(range) {
                self.rows.remove(&key);
            }
            return json!({ "response_delete_range": {} });
        }
        let range = &one["request_range"];
        assert_eq!(range["serializable"], false, "a read that may be old");
        let rows = self.in_range(range);
        if range["count_only"] == true {
            return json!({ "response_range": { "count": rows.len().to_string() } });
        }
        let limit = range["limit"].as_str().map_or(usize::MAX, |limit| limit.parse().unwrap());
        let kvs = rows.iter().take(limit).map(|(key, row)| {
            json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(&row.value),
                "create_revision": row.made.to_string(), "mod_revision": row.changed.to_string() })
        });
        let kvs = kvs.collect();
        json!({ "response_range": { "kvs": Value::Array(kvs), "more": rows.len() > limit } })
    }
}

fn octets(coded: &Value) -> Vec<u8> {
    STANDARD.decode(coded.as_str().unwrap()).unwrap()
}

/// A member that serves until the test ends; its URL.
pub(in crate::backend) fn member(store: &Arc<Mutex<Store>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let store = Arc::clone(store);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let store = Arc::clone(&store);
            thread::spawn(move || serve(&stream.unwrap(), &store));
        }
    });
    url
}

/// Requests of one connection, as long as answers are not lost.
fn serve(stream: &TcpStream, store: &Mutex<Store>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut line = String::new();
        while reader.read_line(&mut line).ok()? > 2 {
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        if length == 0 {
            return None;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (status, body) = answer(&serde_json::from_slice(&body).unwrap(), &mut store.lock().unwrap())?;
        write!(&mut &*stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    }
}

/// Nothing where the answer is lost.
fn answer(txn: &Value, store: &mut Store) -> Option<(&'static str, String)> {
    store.asked.push(txn.clone());
    match store.turns.pop_front().unwrap_or(Turn::Well) {
        Turn::Well => {}
        Turn::LosesAnswer => {
            store.carry_out(txn);
            return None;
        }
        Turn::Fails => return Some(("503 Service Unavailable", r#"{"error":"etcdserver: no leader"}"#.into())),
        Turn::After(other) => other(store),
        Turn::Says(what) => return Some(("200 OK", what)),
    }
    Some(("200 OK", store.carry_out(txn).to_string()))
}
