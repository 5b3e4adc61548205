//! The API's document: OpenAPI 3.1, made from the table of routes, the table of queries, the types of bodies, and
//! [`operations`], which has a line of words for each route. Served as JSON and as a page that needs nothing from elsewhere.

mod answers;
mod operations;

use crate::idempotency::{KEY_BYTES_MAX, ONCE};
use crate::routes::{Access, ROUTES, Route};
use axum::http::header;
use axum::response::IntoResponse;
use gollem_projections::queries::{Kind, Param, QUERIES};
use operations::{Content, OPERATIONS, Operation, Schemas};
use serde_json::json;
use std::sync::OnceLock;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder, Schema,
};

const PAGE: &str = include_str!("page.html");

/// `GET /openapi.json`.
pub(crate) async fn json() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_json().unwrap_or_default());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str())
}

/// `GET /docs`: a page that renders the document in the browser.
pub(crate) async fn page() -> impl IntoResponse {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)], PAGE)
}

/// The whole document.
fn document() -> OpenApi {
    let mut schemas: Schemas = Vec::new();
    let mut paths = PathsBuilder::new();
    for route in ROUTES {
        if let Some(operation) = described(route) {
            paths = paths.path(route.path, path_item(route, operation, &mut schemas));
        }
    }
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme("bearer", SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()))
        .security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))));
    let about = "A market for inference. Money is decimal strings, quantities are units of normalised tokens, times are RFC \
                 3339 in UTC with microseconds beside them, ids have a prefix. Listings come newest first: `next_before` of \
                 a page is the `before` of the next one. Errors have a stable `code`.";
    let info = InfoBuilder::new().title("GoLLeM").version(env!("CARGO_PKG_VERSION")).description(Some(about)).build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build()
}

fn described(route: &Route) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.path == route.path && operation.method == route.method.as_str())
}

fn path_item(route: &Route, operation: &Operation, schemas: &mut Schemas) -> PathItem {
    let method = match operation.method {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    };
    let mut builder = OperationBuilder::new()
        .tag(operation.tag)
        .summary(Some(operation.summary))
        .operation_id(Some(name(operation)))
        .parameters(Some(parameters(route, operation)))
        .response(operation.status, answer(operation, schemas))
        .response("default", failure(schemas));
    if operation.path.starts_with("/health") {
        let unwell = ResponseBuilder::new()
            .description("Commands are not accepted.")
            .content("application/json", content(operation, schemas));
        builder = builder.response("503", unwell.build());
    }
    if operation.path == "/v1/purchases" && operation.method == "POST" {
        builder = builder.response("200", answer(operation, schemas));
    }
    if let Some(body) = operation.body {
        let required = if operation.body_optional { Required::False } else { Required::True };
        let content = ContentBuilder::new().schema(Some(body(schemas))).build();
        builder = builder.request_body(Some(
            RequestBodyBuilder::new().required(Some(required)).content("application/json", content).build(),
        ));
    }
    let mut extensions = vec![("x-body-bytes-max", json!(route.body_bytes_max))];
    match route.access {
        Access::Public => builder = builder.security(SecurityRequirement::default()),
        Access::Scoped(scopes) => {
            extensions.push(("x-scopes", json!(scopes.names())));
            for scheme in ["bearer", "api_key"] {
                builder = builder.security(SecurityRequirement::new(scheme, Vec::<String>::new()));
            }
        }
    }
    PathItem::new(method, builder.extensions(Some(Extensions::from_iter(extensions))))
}

/// A name for programs: the method, and the words of the path.
fn name(operation: &Operation) -> String {
    let words = operation.path.split(['/', '-', '.']).filter(|word| !word.is_empty() && *word != "v1");
    let words = words.map(|word| word.trim_matches(['{', '}']));
    std::iter::once(operation.method.to_lowercase()).chain(words.map(str::to_owned)).collect::<Vec<_>>().join("_")
}

fn content(operation: &Operation, schemas: &mut Schemas) -> utoipa::openapi::Content {
    let builder = ContentBuilder::new();
    match operation.answer {
        Content::Json(typed) => builder.schema(Some(typed(schemas))).build(),
        Content::View(typed) => {
            let position = position(schemas);
            let both = AllOfBuilder::new().item(typed(schemas)).item(position).build();
            builder.schema(Some(Schema::AllOf(both))).build()
        }
        Content::Any => builder.schema(Some(ObjectBuilder::new().schema_type(Type::Object).build())).build(),
        Content::Text(_) => builder.schema(Some(ObjectBuilder::new().schema_type(Type::String).build())).build(),
    }
}

fn answer(operation: &Operation, schemas: &mut Schemas) -> utoipa::openapi::Response {
    let media = if let Content::Text(media) = operation.answer { media } else { "application/json" };
    let mut builder = ResponseBuilder::new().description("Done.").content(media, content(operation, schemas));
    let text = || ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String).build())).build();
    match operation.path {
        "/v1/usage/export" => builder = builder.content("text/csv", text()),
        "/v1/chat/completions" | "/v1/completions" | "/v1/responses" | "/v1/messages" => {
            builder = builder.content("text/event-stream", text());
        }
        _ => {}
    }
    builder.build()
}

fn refer<T: utoipa::ToSchema>(schemas: &mut Schemas) -> RefOr<Schema> {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

fn position(schemas: &mut Schemas) -> RefOr<Schema> {
    refer::<answers::Position>(schemas)
}

fn failure(schemas: &mut Schemas) -> utoipa::openapi::Response {
    let content = ContentBuilder::new().schema(Some(refer::<answers::Error>(schemas))).build();
    ResponseBuilder::new().description("Refused, or failed.").content("application/json", content).build()
}

fn parameters(route: &Route, operation: &Operation) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for word in route.path.split('/') {
        if let Some(name) = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
            parameters.push(in_path(name));
        }
    }
    let query = QUERIES.iter().find(|query| query.path == route.path && operation.method == "GET");
    if let Some(query) = query {
        parameters.extend(query.params.iter().map(in_query));
        parameters.push(in_query(&AFTER));
        if matches!(route.access, Access::Scoped(_)) {
            parameters.push(in_query(&ACCOUNT));
        }
    }
    if operation.path == "/v1/orders" && operation.method == "DELETE" {
        parameters.extend(CANCEL.iter().map(in_query));
    }
    if operation.method == "POST" && (ONCE.contains(&route.path) || CALLS.contains(&route.path)) {
        parameters.push(idempotency_key());
    }
    if KEYED.contains(&route.path) {
        parameters.push(idempotency_key());
    }
    if CALLS.contains(&route.path) {
        parameters.extend(LIMITS.iter().map(|(name, about)| in_header(name, about)));
    }
    parameters
}

const AFTER: Param = Param {
    name: "after",
    about: "Wait, at most 2 s, until the answer reflects this input: the `seq` of an earlier answer.",
    kind: Kind::Whole(0, 1_000_000_000_000_000),
};
const ACCOUNT: Param = Param {
    name: "account",
    about: "Whose: an operator may name any account, everyone else the own.",
    kind: Kind::Form("^acc_[1-9][0-9]{0,8}$"),
};
const CANCEL: [Param; 2] = [
    Param { name: "instrument", about: "Only orders on this instrument.", kind: Kind::Text(64) },
    Param { name: "side", about: "Only orders on this side.", kind: Kind::OneOf(&["bid", "ask"]) },
];
const CALLS: [&str; 5] = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/api/generate"];
/// Once per key for ever: what they began is kept in the store.
const KEYED: [&str; 2] = ["/api/payments/create-intent", "/v1/admin/refunds"];
const LIMITS: [(&str, &str); 3] = [
    ("x-max-price", "Most US dollars a normalised token, a decimal."),
    ("x-max-latency", "Most milliseconds to the first token."),
    ("x-min-throughput", "Fewest tokens a second."),
];

fn parameter(name: &str, place: ParameterIn, about: &str) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(place).required(Required::False).description(Some(about))
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn in_query(param: &Param) -> Parameter {
    let schema = match param.kind {
        Kind::Whole(min, max) => ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(min)).maximum(Some(max)),
        Kind::OneOf(words) => text().enum_values(Some(words.iter().copied())),
        Kind::Form(form) => text().pattern(Some(form)),
        Kind::Text(most) => text().min_length(Some(1)).max_length(Some(most)),
    };
    parameter(param.name, ParameterIn::Query, param.about).schema(Some(schema)).build()
}

/// The parameters of paths, each of one form everywhere.
fn in_path(name: &str) -> Parameter {
    let (about, schema) = match name {
        "lock" => ("A lock's id.", text().pattern(Some("^ord_[1-9][0-9]{0,15}$"))),
        "order" => ("An order's id.", text().pattern(Some("^ord_[1-9][0-9]{0,15}$"))),
        "contract" => ("A contract's id.", text().pattern(Some("^ctr_[1-9][0-9]{0,15}$"))),
        "payout" => ("A payout's id.", text().pattern(Some("^pay_[1-9][0-9]{0,15}$"))),
        "letter" => ("A letter's id, such as payout:17.", text().min_length(Some(1)).max_length(Some(128))),
        "key" => ("A key's id: the part of it that may be shown.", text().min_length(Some(1)).max_length(Some(64))),
        "session" => ("A session's id.", text().min_length(Some(1)).max_length(Some(64))),
        "account" => ("An account's id.", text().pattern(Some("^acc_[1-9][0-9]{0,8}$"))),
        _ => ("The symbol of a listed instrument.", text().min_length(Some(1)).max_length(Some(64))),
    };
    parameter(name, ParameterIn::Path, about).required(Required::True).schema(Some(schema)).build()
}

fn in_header(name: &str, about: &str) -> Parameter {
    parameter(name, ParameterIn::Header, about).schema(Some(text())).build()
}

fn idempotency_key() -> Parameter {
    let about = "Sent again with the same key and body, the request has one effect. 1 to 255 visible ASCII characters.";
    let schema = text().min_length(Some(1)).max_length(Some(KEY_BYTES_MAX)).pattern(Some("^[!-~]+$"));
    parameter("Idempotency-Key", ParameterIn::Header, about).schema(Some(schema)).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::parse;
    use serde_json::Value;

    fn told() -> Value {
        serde_json::to_value(document()).unwrap()
    }

    #[test]
    fn every_route_is_in_the_document_with_its_access_and_body_size_and_nothing_else_is() {
        let told = told();
        for route in ROUTES {
            let operation = &told["paths"][route.path][route.method.as_str().to_lowercase()];
            let name = format!("{} {}", route.method, route.path);
            assert!(operation["summary"].is_string(), "{name} is not described: add it to OPERATIONS");
            assert_eq!(operation["x-body-bytes-max"], route.body_bytes_max, "{name}");
            match route.access {
                Access::Public => assert_eq!(operation["security"], json!([{}]), "{name}"),
                Access::Scoped(scopes) => {
                    assert_eq!(operation["x-scopes"], json!(scopes.names()), "{name}");
                    assert_eq!(operation["security"], json!([{ "bearer": [] }, { "api_key": [] }]), "{name}");
                }
            }
            let takes = operation["requestBody"].is_object();
            assert!(!takes || route.body_bytes_max > 0, "{name} takes no body");
            assert!(operation["responses"]["default"].is_object(), "{name}");
        }
        let count: usize =
            told["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
        assert_eq!((count, OPERATIONS.len()), (ROUTES.len(), ROUTES.len()), "nothing else is described");
        let mut ids: Vec<String> = OPERATIONS.iter().map(name).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), OPERATIONS.len(), "every operation has a name of its own");
        assert!(told["openapi"].as_str().unwrap().starts_with("3.1"), "{}", told["openapi"]);
    }

    #[test]
    fn every_reference_is_resolved_and_every_query_s_parameters_are_told() {
        let told = told();
        fn visit(told: &Value, part: &Value) {
            if let Some(name) = part.get("$ref").and_then(Value::as_str) {
                let found = told.pointer(name.strip_prefix('#').unwrap());
                assert!(found.is_some(), "{name} is nowhere");
            }
            match part {
                Value::Object(fields) => fields.values().for_each(|part| visit(told, part)),
                Value::Array(parts) => parts.iter().for_each(|part| visit(told, part)),
                _ => {}
            }
        }
        visit(&told, &told);
        for query in QUERIES {
            let parameters = told["paths"][query.path]["get"]["parameters"].as_array().unwrap();
            for param in query.params {
                let found = parameters.iter().find(|told| told["name"] == param.name);
                assert_eq!(found.unwrap()["description"], param.about, "{} {}", query.path, param.name);
            }
        }
    }

    #[test]
    fn every_example_of_a_body_is_read_by_its_route() {
        use crate::api::{accounts, guard_rails, keys, market, orders, payments, people, providers, quote};
        use crate::inference::{Surface, reads};
        let told = told();
        let mut tried = 0;
        let mut example = |name: &str, read: fn(&[u8]) -> Result<(), crate::ApiError>| {
            let example = &told["components"]["schemas"][name]["example"];
            assert!(example.is_object(), "{name} has no example");
            read(example.to_string().as_bytes()).unwrap_or_else(|error| panic!("{name}: {}", error.message));
            tried += 1;
        };
        example("PlaceOrder", |body| parse::<orders::PlaceOrder>(body).map(drop));
        example("ReplaceOrder", |body| parse::<orders::ReplaceOrder>(body).map(drop));
        example("CancelAfter", |body| parse::<orders::CancelAfter>(body).map(drop));
        example("Batch", |body| parse::<orders::Batch>(body).map(drop));
        example("QuoteRequest", |body| parse::<quote::QuoteRequest>(body).map(drop));
        example("ListInstrument", |body| parse::<market::ListInstrument>(body).map(drop));
        example("SetState", |body| parse::<market::SetState>(body).map(drop));
        example("SetReferencePrice", |body| parse::<market::SetReferencePrice>(body).map(drop));
        example("OpenAccount", |body| parse::<accounts::OpenAccount>(body).map(drop));
        example("CreditPolicy", |body| parse::<accounts::SetCreditPolicy>(body).map(drop));
        example("Purchase", |body| parse::<payments::Purchase>(body).map(drop));
        example("CreateIntent", |body| parse::<payments::intents::CreateIntent>(body).map(drop));
        example("AutoRenew", |body| parse::<payments::settings::AutoRenew>(body).map(drop));
        example("BalanceAlert", |body| parse::<payments::settings::SetAlert>(body).map(drop));
        example("Onboard", |body| parse::<payments::settings::Onboard>(body).map(drop));
        example("Refund", |body| parse::<payments::admin::Refund>(body).map(drop));
        example("Reconciliation", |body| parse::<payments::admin::Reconcile>(body).map(drop));
        example("PayoutRequest", |body| parse::<payments::PayoutRequest>(body).map(drop));
        example("PayoutPolicy", |body| parse::<payments::SetPayoutPolicy>(body).map(drop));
        example("GuardRail", |body| parse::<guard_rails::SetGuardRail>(body).map(drop));
        example("ProviderStatus", |body| parse::<providers::ProviderStatus>(body).map(drop));
        example("Endpoint", |body| parse::<providers::Register>(body).map(drop));
        example("ChatCompletion", |body| reads(Surface::Chat, body));
        example("Completion", |body| reads(Surface::Completions, body));
        example("ResponseRequest", |body| reads(Surface::Responses, body));
        example("MessageRequest", |body| reads(Surface::Messages, body));
        example("GenerateRequest", |body| reads(Surface::Generate, body));
        example("SetTier", |body| parse::<accounts::SetTier>(body).map(drop));
        example("KeyRequest", |body| parse::<keys::KeyRequest>(body).map(drop));
        example("KeyRotation", |body| parse::<keys::Rotation>(body).map(drop));
        example("KeyLimits", |body| parse::<keys::Limits>(body).map(drop));
        example("MakeKey", |body| parse::<people::MakeKey>(body).map(drop));
        example("Credentials", |body| parse::<people::Credentials>(body).map(drop));
        // Names and passwords are taken by two routes.
        let bodies = OPERATIONS.iter().filter(|operation| operation.body.is_some()).count() - 1;
        assert_eq!(tried, bodies, "every body has an example");
    }
}
