//! What a server says of itself: its settings, what is missing, its figures.

use actix_web::web::{self, Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::super::caller::{Caller, find_task};
use super::super::error::ApiError;
use super::super::input::Params;
use super::super::shared::Shared;
use super::{list, resource};
use crate::process::wall_now;
use crate::queue::ReadStats;
use crate::service::{Figure, Wanted, prove_task};
use domain::{Named as _, Status};
use wire::response::{DoctorFinding, DoctorReport, Series, SettingView, Settings};

/// Points of one answer.
const MAX_POINTS: i64 = 1_440;
/// Time before now at which the points begin where nothing else is asked for, in milliseconds.
const SIX_HOURS: i64 = 6 * 3_600_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/api/settings").get(settings))
        .service(resource("/api/doctor").get(doctor))
        .service(resource("/api/series").get(series))
        .service(resource("/api/proof").get(proof))
        .service(resource("/api/proof/{id}").get(task_proof));
}

async fn settings(shared: Data<Shared>) -> HttpResponse {
    let view = |effective: &crate::config::Effective| SettingView {
        name: effective.setting.name.to_owned(),
        value: match &effective.value {
            None if effective.is_set => Some("set".to_owned()),
            value => value.clone(),
        },
        default: effective.setting.default.map(str::to_owned),
        origin: effective.origin.name().to_owned(),
        help: effective.setting.help.to_owned(),
    };
    HttpResponse::Ok().json(Settings { settings: shared.settings.iter().map(view).collect() })
}

async fn doctor(shared: Data<Shared>) -> HttpResponse {
    let findings: Vec<DoctorFinding> = shared.doctor.findings().await.into_iter().map(finding).collect();
    HttpResponse::Ok().json(DoctorReport { ok: findings.iter().all(|finding| finding.ok), findings })
}

fn finding(found: crate::doctor::Finding) -> DoctorFinding {
    let ok = found.result.is_ok();
    let message = found.result.unwrap_or_else(|mend| mend);
    DoctorFinding { what: found.what.to_owned(), ok, message }
}

async fn series(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["of", "step", "from"])?;
    let mut figures: Vec<Figure> = list::names("of", &params)?;
    if figures.is_empty() {
        figures = strum::VariantArray::VARIANTS.to_vec();
    }
    let step = params.number("step", 60, 86_400, 60)?;
    if step % 60 != 0 {
        return Err(ApiError::invalid("step", format!("must be a number of whole minutes in seconds, got {step}")));
    }
    let from = list::time("from", &params)?.map_or(wall_now().0 - SIX_HOURS, |from| from.0);
    let from = domain::Timestamp(from.max(wall_now().0 - MAX_POINTS * 60_000));
    let pending = shared.queue.ask(ReadStats(None)).await?.count(Status::Pending);
    let wanted = Wanted { figures, from, step: step / 60, pending };
    let points = shared.figures.points(&shared.queue, &wanted).await?;
    let names = wanted.figures.iter().map(|figure| figure.name().to_owned());
    Ok(HttpResponse::Ok().json(Series { step, at: points.at, series: names.zip(points.values).collect() }))
}

async fn proof(shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(shared.prover.prove(&shared.queue, &shared.store).await?))
}

async fn task_proof(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task = find_task(&shared, &caller, &id).await?;
    Ok(HttpResponse::Ok().json(prove_task(&shared.queue, &shared.data_dir, &task).await?))
}
