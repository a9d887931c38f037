//! What a process is by the container and the pod that it runs in.
//!
//! In: its control groups, and what the catalogue knows of that place. Out: attributes in the words of the semantic conventions, and a
//! name for the service. Kept true: facts (ids, names of containers, pods, workloads) are told apart from what is said of the
//! service, which a process may say otherwise of itself.
//!
//! <https://opentelemetry.io/docs/specs/semconv/non-normative/k8s-attributes/>,
//! <https://opentelemetry.io/docs/specs/semconv/registry/attributes/container/>.

use super::{
    catalog::Place,
    cgroup::Membership,
    docker::OfPod,
    image::Image,
    kubernetes::{Container, Pod, Workload},
    text_attribute,
};
use crate::capture::input::AttributeValue;

type Attributes = Vec<(String, AttributeValue)>;

/// What the place of a process says about it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Containment {
    /// The service, if it has a name there.
    pub service: Option<String>,
    /// What is so whatever the process says.
    pub facts: Attributes,
    /// What is so unless the process says otherwise.
    pub claims: Attributes,
    /// There may be more to know later.
    pub is_open: bool,
}

/// Whether the labels that everybody knows name a service; the conventions want that to be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// They do not.
    #[default]
    Unused,
    /// They come after annotations, before workloads.
    Used,
}

impl Containment {
    pub(super) fn of(membership: &Membership, place: &Place, labels: Labels) -> Self {
        let mut found = Self::default();
        let id = membership.container_id.as_deref();
        let pod = place.pod.as_deref();
        let container = pod.and_then(|pod| pod.container(id));
        found.runtime(membership, place, container);
        if let Some(pod) = pod {
            found.pod(pod, container, labels);
        } else {
            if let Some(uid) = &membership.pod_uid {
                found.fact("k8s.pod.uid", uid);
            }
            let described = place.container.as_deref();
            if let Some(pod) = described.and_then(|described| described.pod.as_ref()) {
                found.pod_of_runtime(pod);
            }
        }
        let is_known = match (pod, &place.container) {
            (Some(_), _) => container.is_some() || id.is_none(),
            // Docker may be what a kubelet runs its containers by.
            (None, Some(_)) => membership.pod_uid.is_none(),
            (None, None) => false,
        };
        found.is_open = !is_known && (id.is_some() || membership.pod_uid.is_some());
        found
    }

    /// What a runtime knows of the container.
    fn runtime(&mut self, membership: &Membership, place: &Place, container: Option<&Container>) {
        let described = place.container.as_deref();
        let by_pod = container.and_then(|container| container.id.as_ref()?.1);
        if let Some(id) = &membership.container_id {
            self.fact("container.id", id);
        }
        // In a pod the runtime's name for a container is made up of what the pod says better.
        let name = described
            .filter(|_| membership.pod_uid.is_none())
            .and_then(|described| described.name.as_ref())
            .or(membership.container_name.as_ref());
        if let Some(name) = name {
            self.fact("container.name", name);
        }
        let runtime = described.map(|described| described.runtime);
        if let Some(runtime) = runtime.or(membership.runtime).or(by_pod) {
            self.fact("container.runtime.name", runtime);
        }
        let declared = container.and_then(|container| Image::parse(container.image.as_deref()?));
        if let Some(image) = declared.or_else(|| described?.image.clone()) {
            self.fact("container.image.name", &image.name);
            if let Some(tag) = image.tag {
                self.list("container.image.tags", tag);
            }
        }
        if let Some(digest) = container.and_then(|container| container.image_digest.clone()) {
            self.list("container.image.repo_digests", digest);
        }
        if let Some(described) = described.filter(|_| membership.pod_uid.is_none()) {
            self.service = described.service.clone().or(described.name.clone());
            if let Some(project) = &described.project {
                self.claim("service.namespace", project.clone());
            }
        } else {
            self.service = membership.container_name.clone();
        }
    }

    fn pod(&mut self, pod: &Pod, container: Option<&Container>, labels: Labels) {
        self.fact("k8s.namespace.name", &pod.namespace);
        self.fact("k8s.pod.name", &pod.name);
        self.fact("k8s.pod.uid", &pod.uid);
        for (attribute, name) in &pod.workloads {
            self.fact(attribute, name);
        }
        if let Some(node) = &pod.node {
            self.fact("k8s.node.name", node);
        }
        if let Some(container) = container {
            self.fact("k8s.container.name", &container.name);
        }
        self.service = Some(service(pod, labels));
        // First, so that they stand before what is only derived.
        for (key, value) in &pod.annotations {
            // The name is the service itself, and an agent's own attributes are no pod's to say.
            if key != "service.name" && !key.starts_with("telemetry.") {
                self.claim(key, value.clone());
            }
        }
        self.claim("service.namespace", pod.namespace.clone());
        let label = pod.labels.version.clone().filter(|_| labels == Labels::Used);
        if let Some(version) = label.or_else(|| version(container?)) {
            self.claim("service.version", version);
        }
        if let Some(container) = container {
            let instance = format!("{}.{}.{}", pod.namespace, pod.name, container.name);
            self.claim("service.instance.id", instance);
        }
    }

    /// What a runtime was told of the pod, while the API says nothing.
    fn pod_of_runtime(&mut self, pod: &OfPod) {
        self.fact("k8s.pod.name", &pod.name);
        if let Some(namespace) = &pod.namespace {
            self.fact("k8s.namespace.name", namespace);
            self.claim("service.namespace", namespace.clone());
        }
        if let Some(container) = &pod.container {
            self.fact("k8s.container.name", container);
        }
        let workload = Workload::of_pod(&pod.name);
        if let Some(attribute) = workload.attribute {
            self.fact(attribute, workload.name);
        }
        self.service = Some(workload.name.to_owned());
    }

    fn fact(&mut self, key: &str, value: &str) {
        self.facts.push(text_attribute(key, value));
    }

    fn list(&mut self, key: &str, value: String) {
        self.facts
            .push((key.to_owned(), AttributeValue::List([value].into())));
    }

    /// The first that is said of a key counts.
    fn claim(&mut self, key: &str, value: String) {
        if self.claims.iter().all(|(known, _)| known != key) {
            self.claims.push(text_attribute(key, value));
        }
    }
}

/// By annotation, by label, by who made the pod, the ancestor first, and last by the pod itself.
fn service(pod: &Pod, labels: Labels) -> String {
    let annotated = pod.annotations.iter().find(|(key, _)| key == "service.name");
    let labelled = match labels {
        Labels::Used => pod.labels.instance.as_ref().or(pod.labels.name.as_ref()),
        Labels::Unused => None,
    };
    let workload = pod.workloads.first().map(|(_, name)| name);
    let annotated = annotated.map(|(_, name)| name);
    let name = annotated.or(labelled).or(workload);
    name.unwrap_or(&pod.name).clone()
}

/// By the image: its tag as the pod names it, its digest as it was pulled.
fn version(container: &Container) -> Option<String> {
    let mut image = Image::parse(container.image.as_deref()?)?;
    let pulled = container.image_digest.as_deref().and_then(Image::parse);
    image.digest = image.digest.or_else(|| pulled?.digest);
    image.version()
}
