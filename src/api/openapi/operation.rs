//! Description of one operation for the contract.

use std::borrow::Cow;

use utoipa::ToSchema;
use wire::KeyScope;

/// Named schemas.
pub type Schemas = Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>;

/// An operation.
pub struct Operation {
    pub method: &'static str,
    /// Path, as its route has it.
    pub path: &'static str,
    /// Name in generated clients: a verb first.
    pub id: &'static str,
    /// Summary in a few words.
    pub summary: &'static str,
    /// Parameters of the query.
    pub query: &'static [(&'static str, Parameter)],
    pub headers: &'static [(&'static str, Parameter)],
    /// Body of the request.
    pub body: Option<Body>,
    /// True if the body is the content of a file.
    pub takes_bytes: bool,
    /// Answers of success.
    pub answers: &'static [Answer],
    /// Statuses of refusals, beside those that follow from the above.
    pub errors: &'static [u16],
    /// Key that it needs.
    pub access: Access,
}

/// Key that an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No key.
    Open,
    /// A key that is shown inside: a browser can't send one with a WebSocket.
    Within,
    /// A key with this scope.
    Key(KeyScope),
}

/// No key.
pub const OPEN: Access = Access::Open;
/// A key that is shown inside.
pub const WITHIN: Access = Access::Within;
/// A key that reads.
pub const READ: Access = Access::Key(KeyScope::Read);
/// A key that submits.
pub const SUBMIT: Access = Access::Key(KeyScope::Submit);
/// A key that answers questions.
pub const DECIDE: Access = Access::Key(KeyScope::Decide);
/// A key of an admin.
pub const ADMIN: Access = Access::Key(KeyScope::Admin);

/// Type of a parameter.
#[derive(Clone, Copy)]
pub enum Parameter {
    /// Any text.
    Text,
    /// A UUID.
    Uuid,
    /// A day such as `2026-01-31`.
    Day,
    /// `true` or `false`.
    Flag,
    /// A whole number, both ends included.
    Number(i64, i64),
    /// A value of this type.
    Of(Type),
}

/// A type that is sent or answered.
#[derive(Clone, Copy)]
pub struct Type {
    /// Name of its schema.
    pub name: fn() -> Cow<'static, str>,
    /// Adds its schema, and those that it is made of.
    pub collect: fn(&mut Schemas),
}

/// The type in the contract.
pub const fn of<T: ToSchema>() -> Type {
    fn collect<T: ToSchema>(all: &mut Schemas) {
        all.push((T::name().into_owned(), T::schema()));
        T::schemas(all);
    }
    Type { name: T::name, collect: collect::<T> }
}

/// Body of a request.
pub struct Body {
    /// Type of its content.
    pub kind: Type,
    /// True if there must be one.
    pub required: bool,
    /// Bodies that work.
    pub examples: &'static [&'static str],
}

/// An answer of success.
pub struct Answer {
    pub status: u16,
    pub content: Content,
}

/// Content of an answer.
#[derive(Clone, Copy)]
pub enum Content {
    /// No body.
    Empty,
    /// A value of this type, as JSON.
    Json(Type),
    /// A value of one of these types, as JSON.
    Either(Type, Type),
    /// Any JSON object.
    Object,
    /// Another body: its media type, and its description.
    Other(&'static str, &'static str),
}

/// An answer in JSON.
pub const fn json<T: ToSchema>(status: u16) -> Answer {
    Answer { status, content: Content::Json(of::<T>()) }
}

/// An answer of either type, in JSON.
pub const fn either<A: ToSchema, B: ToSchema>(status: u16) -> Answer {
    Answer { status, content: Content::Either(of::<A>(), of::<B>()) }
}

/// An answer without content.
pub const fn empty(status: u16) -> Answer {
    Answer { status, content: Content::Empty }
}

/// An answer that is no JSON.
pub const fn other(media_type: &'static str, what: &'static str) -> Answer {
    Answer { status: 200, content: Content::Other(media_type, what) }
}

/// An operation, as it begins.
pub const fn op(
    access: Access,
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    answers: &'static [Answer],
) -> Operation {
    Operation {
        method,
        path,
        id,
        summary,
        query: &[],
        headers: &[],
        body: None,
        takes_bytes: false,
        answers,
        errors: &[],
        access,
    }
}

impl Operation {
    /// The same with parameters of the query.
    pub const fn query(mut self, query: &'static [(&'static str, Parameter)]) -> Self {
        self.query = query;
        self
    }

    /// The same with headers.
    pub const fn headers(mut self, headers: &'static [(&'static str, Parameter)]) -> Self {
        self.headers = headers;
        self
    }

    /// The same with refusals.
    pub const fn errors(mut self, errors: &'static [u16]) -> Self {
        self.errors = errors;
        self
    }

    /// The same with a body.
    pub const fn body<T: ToSchema>(mut self, examples: &'static [&'static str]) -> Self {
        self.body = Some(Body { kind: of::<T>(), required: true, examples });
        self
    }

    /// The same with the content of a file as its body.
    pub const fn bytes(mut self) -> Self {
        self.takes_bytes = true;
        self
    }

    /// The same with a body that may be left out.
    pub const fn optional_body<T: ToSchema>(mut self, examples: &'static [&'static str]) -> Self {
        self.body = Some(Body { kind: of::<T>(), required: false, examples });
        self
    }
}
