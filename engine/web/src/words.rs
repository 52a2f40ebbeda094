//! The closed lists of words that the document has: statuses, roles and the like, each out of the type that decides it.

use hookwright_control::HookState;
use hookwright_core::status::{DeliveryStatus, DeploymentStatus, PromotionStatus, RunStatus, StageStatus, SubscriptionStatus};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Schema as AnySchema};
use utoipa::{PartialSchema, ToSchema};

fn one_of(description: &str, words: impl IntoIterator<Item = &'static str>) -> RefOr<AnySchema> {
    let schema = ObjectBuilder::new().schema_type(Type::String).description(Some(description)).enum_values(Some(words)).build();
    RefOr::T(Schema::Object(schema))
}

macro_rules! words {
    ($($name:ident = $description:literal, $words:expr;)*) => {$(
        /// A name in the document; it has no values.
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<AnySchema> {
                one_of($description, $words)
            }
        }

        impl ToSchema for $name {}
    )*};
}

words! {
    RunState = "Where a run stands.", RunStatus::ALL.iter().map(|status| status.as_str());
    StageState = "Where a stage run stands.", StageStatus::ALL.iter().map(|status| status.as_str());
    PromotionState = "Where a promotion stands.", PromotionStatus::ALL.iter().map(|status| status.as_str());
    DeploymentState = "Where a deployment stands.", DeploymentStatus::ALL.iter().map(|status| status.as_str());
    DeliveryState = "Where a delivery stands.", DeliveryStatus::ALL.iter().map(|status| status.as_str());
    SubscriptionState = "Where a trigger stands with its event source.", SubscriptionStatus::ALL.iter().map(|status| status.as_str());
    HookWord = "How the hook of a watched repository stands at its forge.", HookState::ALL.into_iter().map(HookState::as_str);
    RoleName = "What a token may do; each includes those before it.", ["viewer", "developer", "approver", "admin"];
    VerdictWord = "What a gate says.", ["pass", "wait", "block"];
    InstanceWord = "What an instance is doing.", ["starting", "ready", "unhealthy", "backing_off", "ended"];
    ArtifactWord = "What an artifact is.", ["outputs", "report", "image"];
    LogSource = "Standard output, standard error, or a remark of the engine.", ["out", "err", "note"];
}
