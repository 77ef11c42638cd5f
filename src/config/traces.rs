//! The settings of traces. What else OpenTelemetry has names for (`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`,
//! `OTEL_EXPORTER_OTLP_HEADERS` …) its library reads from the environment itself.

use std::net::IpAddr;

use ureq::http::Uri;

use super::source::Source;

/// The one protocol that is spoken.
const PROTOCOL: &str = "http/protobuf";

/// Where traces go.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// Address to which spans are posted; without one there are none.
    pub endpoint: Option<String>,
    /// True if the CLI sends spans of its own.
    pub from_cli: bool,
    /// Variables of OpenTelemetry that the CLI gets as the operator has them.
    pub for_cli: Vec<(String, String)>,
}

impl Traces {
    pub(super) fn read(from: &mut Source) -> Self {
        let wanted = from.choice("CLI_TELEMETRY", &[("on", true), ("off", false)]);
        let Some(base) = from.text("OTEL_EXPORTER_OTLP_ENDPOINT") else { return Self::default() };
        let value = |name: &str| from.environment().get(name).filter(|value| !value.is_empty()).cloned();
        if value("OTEL_SDK_DISABLED").as_deref() == Some("true")
            || value("OTEL_TRACES_EXPORTER").as_deref() == Some("none")
        {
            return Self::default();
        }
        let has_headers =
            ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"].map(value).iter().any(Option::is_some);
        let for_cli = ["OTEL_LOG_USER_PROMPTS", "OTEL_LOG_TOOL_DETAILS"];
        let for_cli = for_cli.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect();
        let protocols =
            ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"].map(|name| (name, value(name)));
        for (name, protocol) in protocols {
            if let Some(protocol) = protocol.filter(|protocol| protocol != PROTOCOL) {
                from.fault(name, &format!("must be {PROTOCOL}, got \"{protocol}\""));
            }
        }
        let host = host_of(&base);
        if host.is_none() {
            let rule = "must be the address of a collector, such as http://127.0.0.1:4318, without a user or password \
                (OTEL_EXPORTER_OTLP_HEADERS has secrets)";
            from.fault("OTEL_EXPORTER_OTLP_ENDPOINT", rule);
        }
        // Headers are secrets, and the CLI's environment is open to every command of a task: where the collector wants
        // them, the CLI sends to this machine or not at all.
        let from_cli = wanted && (!has_headers || host.as_deref().is_some_and(is_loopback));
        Self { endpoint: Some(format!("{}/v1/traces", base.trim_end_matches('/'))), from_cli, for_cli }
    }
}

/// The host of an address to which spans may go.
fn host_of(address: &str) -> Option<String> {
    let uri: Uri = address.parse().ok()?;
    let is_open = !uri.authority()?.as_str().contains('@');
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    uri.host().filter(|_| is_open && is_http).map(str::to_owned)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
