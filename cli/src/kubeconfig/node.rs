//! A YAML document as a tree that knows where each part stands in its text. JSON is YAML, too.

use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle};

/// A part of a document. Two are equal when they mean the same, wherever they stand and however they are written.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Where it stands in the text; nowhere, when it is yet to be written.
    pub(super) range: Range<usize>,
    /// Whether it is written between brackets, as JSON is.
    pub(super) is_flow: bool,
    /// Its anchor and its tag, which are kept where they are and never written anew.
    pub(super) decoration: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// What is no text is a number, a truth value or nothing.
    Scalar {
        text: String,
        is_text: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Alias(usize),
}

/// Why a text is no document. What stands in it is not told: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotADocument {
    #[error("line {line} is not YAML")]
    Malformed { line: usize },
    #[error("line {line} says a thing twice")]
    Twice { line: usize },
    #[error("it holds more than one document")]
    Several,
    #[error("it is nested too deeply")]
    TooDeep,
}

/// A kubeconfig has six levels.
const DEEPEST: usize = 64;

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.decoration == other.decoration
    }
}

impl Eq for Node {}

impl Node {
    fn new(kind: Kind) -> Self {
        Self { kind, range: 0..0, is_flow: false, decoration: None }
    }

    pub(super) fn text(text: &str) -> Self {
        Self::new(Kind::Scalar { text: text.to_owned(), is_text: true })
    }

    pub(super) fn boolean(value: bool) -> Self {
        Self::new(Kind::Scalar { text: value.to_string(), is_text: false })
    }

    pub(super) fn list(items: Vec<Node>) -> Self {
        Self::new(Kind::List(items))
    }

    pub(super) fn map<const N: usize>(pairs: [(&str, Node); N]) -> Self {
        Self::new(Kind::Map(pairs.into_iter().map(|(key, value)| (Self::text(key), value)).collect()))
    }

    /// What a scalar says.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn pairs(&self) -> &[(Node, Node)] {
        match &self.kind {
            Kind::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The value of a key of a map.
    pub(super) fn find(&self, key: &str) -> Option<&Node> {
        self.pairs().iter().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value)
    }

    pub(super) fn find_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Kind::Map(pairs) = &mut self.kind else { return None };
        pairs.iter_mut().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value)
    }

    /// Sets a key of a map; maps below are joined, everything else is replaced.
    pub(super) fn set(&mut self, key: &str, value: Node) {
        let Kind::Map(pairs) = &mut self.kind else { return };
        let Some((_, old)) = pairs.iter_mut().find(|(name, _)| name.as_text() == Some(key)) else {
            pairs.push((Self::text(key), value));
            return;
        };
        match (&old.kind, value.kind) {
            (Kind::Map(_), Kind::Map(new)) => {
                for (key, value) in new {
                    old.set(key.as_text().unwrap_or_default(), value);
                }
            }
            (_, kind) => *old = Self::new(kind),
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Kind::Map(pairs) = &mut self.kind {
            pairs.retain(|(name, _)| name.as_text() != Some(key));
        }
    }

    /// Whether there is nothing: no list, no map, no text.
    pub(super) fn is_nothing(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, is_text } => !is_text && ["", "~", "null"].contains(&text.as_str()),
            Kind::List(items) => items.is_empty(),
            Kind::Map(pairs) => pairs.is_empty(),
            Kind::Alias(_) => false,
        }
    }
}

/// Whether an unquoted word is a text for every reader, those of YAML 1.1 included, for whom `no` is not one.
pub(super) fn is_plain_text(word: &str) -> bool {
    const WORDS: [&str; 10] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y"];
    let lower = word.to_ascii_lowercase();
    let is_word = WORDS.contains(&lower.as_str()) || lower == "n";
    !is_word && !word.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
}

/// The one document of a text; `None` where there is none, or an empty one.
pub(super) fn parse(text: &str) -> Result<Option<Node>, NotADocument> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut events = Events { parser: Parser::new_from_str_with_options(text, options), line: 1 };
    let mut document = None;
    while let Some((event, _)) = events.next()? {
        match event {
            Event::DocumentStart(..) if document.is_some() => return Err(NotADocument::Several),
            Event::DocumentStart(..) => document = Some(events.node(0)?),
            _ => {}
        }
    }
    Ok(document.filter(|node| !(node.as_text() == Some("") && node.is_nothing())))
}

struct Events<'text> {
    parser: Parser<'text, granit_parser::StrInput<'text>>,
    line: usize,
}

impl<'text> Events<'text> {
    fn next(&mut self) -> Result<Option<(Event<'text>, Span)>, NotADocument> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(Some((event, span)))
            }
            Some(Err(error)) => Err(NotADocument::Malformed { line: error.marker().line() }),
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node, NotADocument> {
        let (event, span) = self.next()?.ok_or(NotADocument::Malformed { line: self.line })?;
        self.node_of(event, span, depth)
    }

    fn node_of(&mut self, event: Event<'text>, span: Span, depth: usize) -> Result<Node, NotADocument> {
        if depth > DEEPEST {
            return Err(NotADocument::TooDeep);
        }
        let range = span.byte_range().unwrap_or_default();
        let decoration = decoration(&event);
        let is_flow = matches!(
            event,
            Event::SequenceStart(StructureStyle::Flow, ..) | Event::MappingStart(StructureStyle::Flow, ..)
        );
        let (kind, range) = match event {
            Event::Scalar(value, style, ..) => {
                let is_text = style != ScalarStyle::Plain || is_plain_text(&value);
                (Kind::Scalar { text: value.into_owned(), is_text }, range)
            }
            Event::Alias(id) => (Kind::Alias(id), range),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                let end = loop {
                    match self.next()? {
                        None => return Err(NotADocument::Malformed { line: self.line }),
                        Some((Event::SequenceEnd, end)) => break end,
                        Some((event, span)) => items.push(self.node_of(event, span, depth + 1)?),
                    }
                };
                let (first, last) = (items.first(), items.last());
                let range = extent(range, end, is_flow, first, last);
                (Kind::List(items), range)
            }
            Event::MappingStart(..) => {
                let mut pairs: Vec<(Node, Node)> = Vec::new();
                let end = loop {
                    match self.next()? {
                        None => return Err(NotADocument::Malformed { line: self.line }),
                        Some((Event::MappingEnd, end)) => break end,
                        Some((event, span)) => {
                            let line = span.start.line();
                            let key = self.node_of(event, span, depth + 1)?;
                            if pairs.iter().any(|(other, _)| other.kind == key.kind) {
                                return Err(NotADocument::Twice { line });
                            }
                            pairs.push((key, self.node(depth + 1)?));
                        }
                    }
                };
                let (first, last) = (pairs.first().map(|(key, _)| key), pairs.last().map(|(_, value)| value));
                let range = extent(range, end, is_flow, first, last);
                (Kind::Map(pairs), range)
            }
            _ => return Err(NotADocument::Malformed { line: self.line }),
        };
        Ok(Node { kind, range, is_flow, decoration })
    }
}

/// From bracket to bracket, or from the first part to the last.
fn extent(
    start: Range<usize>,
    end: Span,
    is_flow: bool,
    first: Option<&Node>,
    last: Option<&Node>,
) -> Range<usize> {
    let end = end.byte_range().unwrap_or_default();
    match (is_flow, first, last) {
        (false, Some(first), Some(last)) => first.range.start..last.range.end.max(first.range.end),
        _ => start.start..end.end,
    }
}

fn decoration(event: &Event<'_>) -> Option<String> {
    let (anchor, tag) = match event {
        Event::Scalar(_, _, anchor, tag)
        | Event::SequenceStart(_, anchor, tag)
        | Event::MappingStart(_, anchor, tag) => (*anchor, tag.as_ref()),
        _ => return None,
    };
    (anchor != 0 || tag.is_some())
        .then(|| format!("&{anchor} {}", tag.map(|tag| tag.original()).unwrap_or_default()))
}
