//! The cloud that the host is in, as its firmware says: what clouds write into DMI so that they are recognised.
//!
//! In: `/sys/class/dmi/id`. Out: `cloud.provider` and `cloud.platform`
//! (<https://opentelemetry.io/docs/specs/semconv/registry/attributes/cloud/>). Kept true: no metadata service is asked. A request to
//! 169.254.169.254 by a privileged agent is a surprise, and what it would add (region, instance) is easily set by
//! `OTEL_RESOURCE_ATTRIBUTES`.

use super::proc::Proc;

/// What says so: a file, the beginning of its text, provider and platform.
const CLOUDS: &[(&str, &str, &str, &str)] = &[
    ("sys_vendor", "Amazon EC2", "aws", "aws_ec2"),
    (
        "product_name",
        "Google Compute Engine",
        "gcp",
        "gcp_compute_engine",
    ),
    // Its vendor is Microsoft, as is that of any virtual machine on Hyper-V; the tag is that of Azure alone.
    (
        "chassis_asset_tag",
        "7783-7084-3265-9085-8269-3286-77",
        "azure",
        "azure.vm",
    ),
    (
        "sys_vendor",
        "Alibaba Cloud",
        "alibaba_cloud",
        "alibaba_cloud_ecs",
    ),
    (
        "sys_vendor",
        "Tencent Cloud",
        "tencent_cloud",
        "tencent_cloud_cvm",
    ),
    (
        "chassis_asset_tag",
        "OracleCloud.com",
        "oracle_cloud",
        "oracle_cloud_compute",
    ),
];

/// The attributes of the host's cloud. In a cluster the platform is the cloud's Kubernetes or one that stands on its machines, which
/// firmware does not tell.
pub(super) fn attributes(proc: &Proc, is_in_cluster: bool) -> Vec<(String, String)> {
    let found = CLOUDS.iter().find(|(file, text, ..)| {
        let said = proc.read_of_host(&format!("/sys/class/dmi/id/{file}"));
        said.is_some_and(|said| said.starts_with(text.as_bytes()))
    });
    let Some((_, _, provider, platform)) = found else {
        return Vec::new();
    };
    let platform = (!is_in_cluster).then_some(("cloud.platform", platform));
    [("cloud.provider", provider)]
        .into_iter()
        .chain(platform)
        .map(|(key, value)| (key.to_owned(), (*value).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{Proc, attributes};

    fn found(file: &str, text: &str, is_in_cluster: bool) -> String {
        let root = TempDir::new().unwrap();
        let folder = root.path().join("sys/class/dmi/id");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), format!("{text}\n")).unwrap();
        let found = attributes(&Proc::new(root.path().join("proc")), is_in_cluster);
        let pairs = found.into_iter().map(|(key, value)| format!("{key}={value}"));
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn firmware_names_the_cloud_and_a_cluster_has_a_platform_of_its_own() {
        assert_eq!(
            found("sys_vendor", "Amazon EC2", false),
            "cloud.provider=aws cloud.platform=aws_ec2"
        );
        assert_eq!(found("sys_vendor", "Amazon EC2", true), "cloud.provider=aws");
        assert_eq!(
            found("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77", false),
            "cloud.provider=azure cloud.platform=azure.vm"
        );
        for (file, text) in [
            ("sys_vendor", "Microsoft Corporation"),
            ("sys_vendor", "QEMU"),
            ("product_name", "Amazon EC2"),
        ] {
            assert_eq!(found(file, text, false), "", "{file} {text}");
        }
    }
}
