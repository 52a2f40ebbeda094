//! From the text of a `webhook.yaml` to a validated [`Spec`], and from there to a [`Plan`]: pure functions, all problems at once.
//! Everything here is deterministic: the same text and the same tree give the same plan with the same digest.

mod explain;
mod expression;
mod model;
mod parse;
mod payload_field;
mod plan;
mod planner;
mod preset;
mod problem;
mod reader;
mod schema;
mod timetable;
mod tree;

pub use explain::explain;
pub use expression::EventExpression;

pub use model::{
    Api, Approvals, Approver, Check, ConfigEntry, ConfigKind, CopyEntry, Deliver, Doc, Environment, Gates, Handler, HttpCheck, Image,
    Operation, Pipeline, PipelineConcurrency, Promote, RateLimit, Retry, Scale, Service, Spec, Stage, Trigger, Verify, Window,
};
pub use parse::{EVENT_SOURCES, SOURCE_FOLDER, SourceFiles, event_doubt, event_types, parse, parse_beside, usual_event_types, whose};
pub use payload_field::payload_fields;
pub use plan::{LeftOut, Plan, PlanRequest, PlannedStage, StageKind, TreeFile};
pub use planner::plan;
pub use problem::{Problem, Problems};
pub use schema::{preset_schema, schema};
pub use timetable::Timetable;
