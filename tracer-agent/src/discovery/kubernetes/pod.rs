//! A pod as the API describes it, and of that what identity takes.
//!
//! In: one object of `/api/v1/pods`. Out: a [`Pod`]. Kept true: every text is clean and of bounded length, every list bounded;
//! annotations and labels that are not asked for are not even kept while it is read.
//!
//! Which attributes there are, and which service a container is:
//! <https://opentelemetry.io/docs/specs/semconv/non-normative/k8s-attributes/>.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::super::text;

/// Containers of one pod that are kept, of all kinds.
const CONTAINERS_MAX: usize = 64;
/// Labels and annotations of one pod that are kept.
const NOTES_MAX: usize = 64;
/// What annotations begin with that are attributes of the resource.
const RESOURCE: &str = "resource.opentelemetry.io/";
/// The id by which a kubelet knows a pod that comes from a file on its node; the object in the API is only its mirror.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// The label that is the end of the name of a deployment's replica set.
const TEMPLATE_HASH: &str = "pod-template-hash";
const INSTANCE: &str = "app.kubernetes.io/instance";
const NAME: &str = "app.kubernetes.io/name";
const VERSION: &str = "app.kubernetes.io/version";

/// What is known of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Pod {
    /// As in the paths of control groups.
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub node: Option<String>,
    /// Attribute and name of who made it, the ancestor first.
    pub workloads: Vec<(&'static str, String)>,
    /// Attributes that annotations ask for.
    pub annotations: Vec<(String, String)>,
    /// Labels that everybody knows.
    pub labels: Labels,
    pub containers: Vec<Container>,
}

/// The well-known labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Labels {
    /// `app.kubernetes.io/instance`
    pub instance: Option<String>,
    /// `app.kubernetes.io/name`
    pub name: Option<String>,
    /// `app.kubernetes.io/version`
    pub version: Option<String>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Container {
    pub name: String,
    /// The runtime's id, and the runtime's name; once the kubelet has told that it runs.
    pub id: Option<(String, Option<&'static str>)>,
    /// As the pod's author wrote it.
    pub image: Option<String>,
    /// The image that was pulled, by its digest.
    pub image_digest: Option<String>,
}

impl Pod {
    /// Reads an object of the API.
    ///
    /// # Errors
    /// When it is no pod: its uid or name is missing.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<Object>(json)?
            .into_pod()
            .ok_or_else(|| serde::de::Error::custom("a pod without uid, namespace or name"))
    }

    /// The container with this id; or its only one, of which the kubelet has not told the id yet.
    pub fn container(&self, id: Option<&str>) -> Option<&Container> {
        let with_id = |container: &&Container| {
            let known = container.id.as_ref().map(|(known, _)| known.as_str());
            known.is_some() && known == id
        };
        let only = || match self.containers.as_slice() {
            [only] if id.is_some() => Some(only),
            _ => None,
        };
        self.containers.iter().find(with_id).or_else(only)
    }
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    uid: String,
    namespace: String,
    name: String,
    annotations: Notes,
    labels: Notes,
    owner_references: Few<Owner>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
    name: String,
    controller: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    containers: Few<Declared>,
    init_containers: Few<Declared>,
    ephemeral_containers: Few<Declared>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Declared {
    name: String,
    image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Few<Running>,
    init_container_statuses: Few<Running>,
    ephemeral_container_statuses: Few<Running>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Running {
    name: String,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    #[serde(rename = "imageID")]
    image_id: Option<String>,
}

impl Object {
    fn into_pod(self) -> Option<Pod> {
        let Self {
            metadata,
            spec,
            status,
        } = self;
        let hash = metadata.annotations.get(CONFIG_HASH);
        let statuses = status.container_statuses.0.iter();
        let statuses: Vec<_> = statuses
            .chain(&status.init_container_statuses.0)
            .chain(&status.ephemeral_container_statuses.0)
            .collect();
        let declared = spec.containers.0.into_iter();
        let containers = declared
            .chain(spec.init_containers.0)
            .chain(spec.ephemeral_containers.0)
            .take(CONTAINERS_MAX)
            .filter_map(|declared| {
                let running = statuses.iter().find(|status| status.name == declared.name);
                container(&declared, running.copied())
            })
            .collect();
        let label = |key| metadata.labels.get(key);
        Some(Pod {
            uid: hash.or_else(|| text::non_empty(&metadata.uid))?,
            namespace: text::non_empty(&metadata.namespace)?,
            name: text::non_empty(&metadata.name)?,
            node: spec.node_name.as_deref().and_then(text::non_empty),
            workloads: workloads(&metadata.owner_references.0, label(TEMPLATE_HASH).as_deref()),
            labels: Labels {
                instance: label(INSTANCE),
                name: label(NAME),
                version: label(VERSION),
            },
            annotations: metadata.annotations.attributes(),
            containers,
        })
    }
}

fn container(declared: &Declared, running: Option<&Running>) -> Option<Container> {
    let id = running.and_then(|running| running.container_id.as_deref());
    // `containerd://<id>`
    let id = id.and_then(|id| {
        let (runtime, id) = id.split_once("://")?;
        let runtime = match runtime {
            "docker" => Some("docker"),
            "containerd" => Some("containerd"),
            "cri-o" => Some("cri-o"),
            _ => None,
        };
        Some((text::non_empty(id)?, runtime))
    });
    let image_id = running.and_then(|running| running.image_id.as_deref());
    Some(Container {
        name: text::non_empty(&declared.name)?,
        id,
        image: declared.image.as_deref().and_then(text::non_empty),
        // `docker-pullable://name@sha256:…`, `name@sha256:…`; without a name it is an id of the runtime's own.
        image_digest: image_id
            .map(|id| id.split_once("://").map_or(id, |(_, name)| name))
            .filter(|id| id.contains('@'))
            .and_then(text::non_empty),
    })
}

/// Who made a pod, by its controller, and who made that as far as names tell for certain.
fn workloads(owners: &[Owner], template_hash: Option<&str>) -> Vec<(&'static str, String)> {
    let Some(owner) = owners.iter().find(|owner| owner.controller == Some(true)) else {
        return Vec::new();
    };
    let Some(name) = text::non_empty(&owner.name) else {
        return Vec::new();
    };
    let (attribute, above) = match owner.kind.as_str() {
        "ReplicaSet" => {
            let deployment = template_hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'));
            (
                "k8s.replicaset.name",
                deployment.map(|name| ("k8s.deployment.name", name)),
            )
        }
        "Job" => (
            "k8s.job.name",
            cron_job(&name).map(|name| ("k8s.cronjob.name", name)),
        ),
        "StatefulSet" => ("k8s.statefulset.name", None),
        "DaemonSet" => ("k8s.daemonset.name", None),
        _ => return Vec::new(),
    };
    let above = above
        .filter(|(_, name)| !name.is_empty())
        .map(|(attribute, name)| (attribute, name.to_owned()));
    above.into_iter().chain([(attribute, name)]).collect()
}

/// `<cron job>-<minute it was due>`, counted from 1970; before Kubernetes 1.21 the second. What is no time of these years (a
/// date that was written by hand: 20240131) is another's.
fn cron_job(job: &str) -> Option<&str> {
    const YEARS_2017_TO_2066: std::ops::Range<u64> = 25_000_000..51_000_000;
    let (name, due) = job.rsplit_once('-')?;
    let number: u64 = due.parse().ok()?;
    let is_time = match due.len() {
        8 => YEARS_2017_TO_2066.contains(&number),
        10 => YEARS_2017_TO_2066.contains(&(number / 60)),
        _ => false,
    };
    is_time.then_some(name)
}

/// Labels or annotations that are asked for.
#[derive(Default)]
struct Notes(Vec<(String, String)>);

impl Notes {
    fn get(&self, key: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(known, _)| known == key)?;
        text::non_empty(value)
    }

    fn attributes(&self) -> Vec<(String, String)> {
        let asked = self.0.iter().filter_map(|(key, value)| {
            let key = text::non_empty(key.strip_prefix(RESOURCE)?)?;
            Some((key, text::non_empty(value)?))
        });
        asked.collect()
    }

    fn wants(key: &str) -> bool {
        key.starts_with(RESOURCE) || [CONFIG_HASH, TEMPLATE_HASH, INSTANCE, NAME, VERSION].contains(&key)
    }
}

impl<'de> Deserialize<'de> for Notes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Wanted;
        impl<'de> Visitor<'de> for Wanted {
            type Value = Notes;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("labels or annotations")
            }

            fn visit_unit<E>(self) -> Result<Notes, E> {
                Ok(Notes::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Notes, A::Error> {
                let mut notes = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if Notes::wants(&key) && notes.len() < NOTES_MAX {
                        let value = map.next_value::<Option<String>>()?;
                        notes.push((key, text::clean(&value.unwrap_or_default())));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Notes(notes))
            }
        }
        from.deserialize_any(Wanted)
    }
}

/// A list that may be missing or `null`; past the bound its elements are read and let go.
struct Few<T>(Vec<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bounded<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
            type Value = Few<T>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Few<T>, E> {
                Ok(Few::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Few<T>, A::Error> {
                let mut few = Vec::new();
                while few.len() < CONTAINERS_MAX {
                    match list.next_element()? {
                        Some(element) => few.push(element),
                        None => return Ok(Few(few)),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Few(few))
            }
        }
        from.deserialize_any(Bounded(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn made_by(kind: &str, name: &str, hash: Option<&str>) -> Vec<(&'static str, String)> {
        let object = json!({
            "metadata": {
                "uid": "u", "namespace": "n", "name": "p", "labels": {"pod-template-hash": hash},
                "ownerReferences": [
                    {"kind": "Deployment", "name": "not the controller"},
                    {"kind": kind, "name": name, "controller": true},
                ],
            },
        });
        Pod::parse(object.to_string().as_bytes()).unwrap().workloads
    }

    #[test]
    fn a_workload_is_the_controller_and_what_its_name_tells_for_certain() {
        let of = |kind, name, hash| {
            let workloads = made_by(kind, name, hash).into_iter();
            workloads
                .map(|(attribute, name)| format!("{attribute}={name}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (kind, name, hash, workloads) in [
            (
                "ReplicaSet",
                "shop-api-6d4cf56db6",
                Some("6d4cf56db6"),
                "k8s.deployment.name=shop-api k8s.replicaset.name=shop-api-6d4cf56db6",
            ),
            ("ReplicaSet", "by-hand", None, "k8s.replicaset.name=by-hand"),
            (
                "ReplicaSet",
                "by-hand",
                Some("abc"),
                "k8s.replicaset.name=by-hand",
            ),
            ("StatefulSet", "db", None, "k8s.statefulset.name=db"),
            ("DaemonSet", "agent", None, "k8s.daemonset.name=agent"),
            (
                "Job",
                "report-29384720",
                None,
                "k8s.cronjob.name=report k8s.job.name=report-29384720",
            ),
            (
                "Job",
                "report-1627993800",
                None,
                "k8s.cronjob.name=report k8s.job.name=report-1627993800",
            ),
            ("Job", "import-20240131", None, "k8s.job.name=import-20240131"),
            ("Job", "migrate", None, "k8s.job.name=migrate"),
            ("Rollout", "shop", None, ""),
        ] {
            assert_eq!(of(kind, name, hash), workloads, "{kind} {name}");
        }
    }

    #[test]
    fn containers_are_known_by_id_with_their_images_and_an_only_one_before_it_has_one() {
        let object = |statuses: serde_json::Value| {
            json!({
                "metadata": {"uid": "u", "namespace": "n", "name": "p"},
                "spec": {
                    "containers": [{"name": "app", "image": "shop/app:1"}],
                    "initContainers": [{"name": "init", "image": "init"}],
                },
                "status": {"containerStatuses": statuses, "initContainerStatuses": null},
            })
            .to_string()
        };
        let pod = Pod::parse(
            object(json!([{"name": "app", "containerID": "cri-o://ff", "imageID": "shop/app@sha256:00"}]))
                .as_bytes(),
        )
        .unwrap();
        let app = pod.container(Some("ff")).unwrap();
        assert_eq!(app.id, Some(("ff".to_owned(), Some("cri-o"))));
        assert_eq!(app.image_digest.as_deref(), Some("shop/app@sha256:00"));
        assert_eq!(pod.container(Some("00")), None, "it could be either");
        let mut alone = pod.clone();
        alone.containers.truncate(1);
        assert_eq!(alone.container(Some("00")).unwrap().name, "app");
        assert_eq!(alone.container(None), None);
    }

    #[test]
    fn a_pod_from_a_file_has_the_uid_that_its_kubelet_knows() {
        let object = json!({"metadata": {
            "uid": "of the mirror", "namespace": "kube-system", "name": "etcd",
            "annotations": {"kubernetes.io/config.hash": "0123", "other": "x"},
        }});
        let pod = Pod::parse(object.to_string().as_bytes()).unwrap();
        assert_eq!((pod.uid.as_str(), pod.annotations.len()), ("0123", 0));
    }

    #[test]
    fn lists_and_texts_are_bounded_and_clean() {
        let containers: Vec<_> = (0..1000)
            .map(|number| json!({"name": number.to_string()}))
            .collect();
        let notes: serde_json::Map<_, _> = (0..1000)
            .map(|number| {
                (
                    format!("resource.opentelemetry.io/{number}"),
                    json!("x".repeat(5000)),
                )
            })
            .collect();
        let object = json!({
            "metadata": {"uid": "u", "namespace": "n", "name": "p\u{1b}[2J", "annotations": notes},
            "spec": {"containers": containers},
        });
        let pod = Pod::parse(object.to_string().as_bytes()).unwrap();
        assert_eq!(pod.name, "p\u{fffd}[2J");
        assert_eq!(
            (pod.containers.len(), pod.annotations.len()),
            (CONTAINERS_MAX, NOTES_MAX)
        );
        assert!(pod.annotations.iter().all(|(_, value)| value.len() <= 1024));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Pod::parse(&bytes);
        }

        #[test]
        fn no_value_in_any_place_makes_it_fail(place in 0..6_usize, value in "null|7|\"x\"|\\[\\]|\\{\\}|\\[7\\]|\\[\\{\\}\\]") {
            let value: serde_json::Value = serde_json::from_str(&value).unwrap();
            let mut object = json!({"metadata": {"uid": "u", "namespace": "n", "name": "p"}, "spec": {}, "status": {}});
            let places = ["/metadata/annotations", "/metadata/labels", "/metadata/ownerReferences",
                "/spec/containers", "/status/containerStatuses", "/metadata/uid"];
            let (parent, key) = places[place].rsplit_once('/').unwrap();
            object.pointer_mut(parent).unwrap()[key] = value;
            let _ = Pod::parse(object.to_string().as_bytes());
        }
    }
}
