//! The parser of OTTL conditions (`grammar.go`). It makes a tree in which each part has its offset.
//!
//! `or` binds least, then `and`, `not`, comparisons, sums and products. Conditions and values have the same type of
//! node, so that parentheses need no lookahead. `compile` checks which of them is allowed in which place.

use super::OttlError;
use super::lexer::{Placed, Token, tokens};
pub(super) use crate::condition::formula::{CompareOp, MathOp};

/// The most levels of nesting. Deeper nesting is treated as a mistake. The limit also protects the stack.
const NESTING_MAX: usize = 32;

/// The most arithmetic operators and keys inside of values. Each of them makes the tree deeper, so more are treated as
/// a mistake.
const OPERATORS_MAX: usize = 32;

/// The words of the language that cannot be names.
const RESERVED: [&str; 3] = ["and", "or", "not"];

/// A part of the condition with the offset of its first byte.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expr {
    pub(super) offset: usize,
    pub(super) node: ExprNode,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum ExprNode {
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Enum(String),
    List(Vec<Expr>),
    Map(Vec<(String, Expr)>),
    /// A key or an index in brackets after the call of a function.
    Index(Box<Expr>, Box<Expr>),
    Path(Vec<PathSegment>),
    Call(String, Vec<Expr>),
    Math(MathOp, Box<Expr>, Box<Expr>),
    Compare(CompareOp, Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
}

/// One name of a path, with the keys in brackets after it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PathSegment {
    pub(super) name: String,
    pub(super) keys: Vec<Expr>,
}

impl Expr {
    /// Returns the arguments of a call; an empty slice for any other node.
    pub(super) fn arguments(&self) -> &[Expr] {
        match &self.node {
            ExprNode::Call(_, arguments) => arguments,
            _ => &[],
        }
    }
}

/// Parses a whole condition.
pub(super) fn parse(text: &str) -> Result<Expr, OttlError> {
    let mut parser = OttlParser { tokens: tokens(text)?, next: 0, depth: 0, operators: 0 };
    let expr = parser.or()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("`and`, `or` or the end")),
    }
}

struct OttlParser {
    /// The tokens. The last one is [`Token::End`]; the parser never goes past it.
    tokens: Vec<Placed>,
    next: usize,
    depth: usize,
    operators: usize,
}

impl OttlParser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn offset(&self) -> usize {
        self.tokens[self.next].offset
    }

    /// Consumes and returns the next token.
    fn take(&mut self) -> Placed {
        let placed = self.tokens[self.next].clone();
        self.next += usize::from(placed.token != Token::End);
        placed
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(next) if next == word);
        self.next += usize::from(found);
        found
    }

    fn accept_symbol(&mut self, symbol: &'static str) -> bool {
        let found = *self.peek() == Token::Symbol(symbol);
        self.next += usize::from(found);
        found
    }

    fn expect_symbol(&mut self, symbol: &'static str) -> Result<(), OttlError> {
        if self.accept_symbol(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn unexpected(&self, expected: &str) -> OttlError {
        unexpected(&self.tokens[self.next], expected)
    }

    fn count_operator(&mut self) -> Result<(), OttlError> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            let message = format!("more than {OPERATORS_MAX} arithmetic operators and keys inside of values");
            return Err(OttlError::new(self.offset(), message));
        }
        Ok(())
    }

    /// Parses a part that may contain parts of its own kind. Counts the depth.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, OttlError>) -> Result<T, OttlError> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(OttlError::new(self.offset(), format!("nested deeper than {NESTING_MAX} levels")));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn or(&mut self) -> Result<Expr, OttlError> {
        self.chain("or", Self::and, ExprNode::Or)
    }

    fn and(&mut self) -> Result<Expr, OttlError> {
        self.chain("and", Self::not, ExprNode::And)
    }

    /// Parses parts that are joined by `word`. A single part is returned as it is.
    fn chain(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Expr, OttlError>,
        join: fn(Vec<Expr>) -> ExprNode,
    ) -> Result<Expr, OttlError> {
        let first = part(self)?;
        let offset = first.offset;
        let mut parts = vec![first];
        while self.accept_word(word) {
            parts.push(part(self)?);
        }
        Ok(match <[Expr; 1]>::try_from(parts) {
            Ok([only]) => only,
            Err(parts) => Expr { offset, node: join(parts) },
        })
    }

    fn not(&mut self) -> Result<Expr, OttlError> {
        let offset = self.offset();
        if self.accept_word("not") {
            let inner = self.nested(Self::not)?;
            return Ok(Expr { offset, node: ExprNode::Not(Box::new(inner)) });
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr, OttlError> {
        let left = self.sum()?;
        let op = match self.peek() {
            Token::Symbol("==") => CompareOp::Eq,
            Token::Symbol("!=") => CompareOp::Ne,
            Token::Symbol("<") => CompareOp::Lt,
            Token::Symbol("<=") => CompareOp::Le,
            Token::Symbol(">") => CompareOp::Gt,
            Token::Symbol(">=") => CompareOp::Ge,
            _ => return Ok(left),
        };
        self.take();
        let right = self.sum()?;
        Ok(Expr { offset: left.offset, node: ExprNode::Compare(op, Box::new(left), Box::new(right)) })
    }

    fn sum(&mut self) -> Result<Expr, OttlError> {
        self.math([("+", MathOp::Add), ("-", MathOp::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Expr, OttlError> {
        self.math([("*", MathOp::Multiply), ("/", MathOp::Divide)], Self::primary)
    }

    /// Parses operands that are joined by operators of the same precedence, from left to right.
    fn math(
        &mut self,
        operators: [(&'static str, MathOp); 2],
        operand: fn(&mut Self) -> Result<Expr, OttlError>,
    ) -> Result<Expr, OttlError> {
        let mut left = operand(self)?;
        while let Some((_, op)) = operators.iter().find(|(symbol, _)| self.accept_symbol(symbol)) {
            self.count_operator()?;
            let right = operand(self)?;
            left = Expr { offset: left.offset, node: ExprNode::Math(*op, Box::new(left), Box::new(right)) };
        }
        Ok(left)
    }

    fn primary(&mut self) -> Result<Expr, OttlError> {
        let placed = self.take();
        let node = match placed.token {
            Token::Symbol("(") => {
                let inner = self.nested(Self::or)?;
                self.expect_symbol(")")?;
                return Ok(inner);
            }
            Token::Symbol("[") => ExprNode::List(self.list("]")?),
            Token::Symbol("{") => ExprNode::Map(self.map()?),
            // A minus that is not part of a number: `-x` becomes `0 - x`.
            Token::Symbol("-") => {
                let inner = self.nested(Self::primary)?;
                let zero = Expr { offset: placed.offset, node: ExprNode::Int(0) };
                ExprNode::Math(MathOp::Subtract, Box::new(zero), Box::new(inner))
            }
            Token::Int(value) => ExprNode::Int(value),
            Token::Double(value) => ExprNode::Double(value),
            Token::Bytes(bytes) => ExprNode::Bytes(bytes),
            Token::Text(text) => ExprNode::Text(text),
            Token::Word(word) if !RESERVED.contains(&word.as_str()) => self.word(word, placed.offset)?,
            _ => return Err(unexpected(&placed, "a path, a function or a constant")),
        };
        Ok(Expr { offset: placed.offset, node })
    }

    /// Parses the constant, call, enum or path that begins with `word`.
    fn word(&mut self, word: String, offset: usize) -> Result<ExprNode, OttlError> {
        match word.as_str() {
            "nil" => return Ok(ExprNode::Nil),
            "true" => return Ok(ExprNode::Bool(true)),
            "false" => return Ok(ExprNode::Bool(false)),
            _ => {}
        }
        if self.accept_symbol("(") {
            let arguments = self.list(")")?;
            let mut call = ExprNode::Call(word, arguments);
            for key in self.keys(0)? {
                call = ExprNode::Index(Box::new(Expr { offset, node: call }), Box::new(key));
            }
            return Ok(call);
        }
        if word.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Ok(ExprNode::Enum(word));
        }
        self.path(word, offset)
    }

    /// Parses values up to `close` and consumes it.
    fn list(&mut self, close: &'static str) -> Result<Vec<Expr>, OttlError> {
        let mut values = Vec::new();
        if self.accept_symbol(close) {
            return Ok(values);
        }
        loop {
            values.push(self.nested(Self::or)?);
            if self.accept_symbol(close) {
                return Ok(values);
            }
            if !self.accept_symbol(",") {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
    }

    /// Parses a path after its first word.
    fn path(&mut self, first: String, offset: usize) -> Result<ExprNode, OttlError> {
        let mut segments = vec![self.segment(first, offset)?];
        while self.accept_symbol(".") {
            let placed = self.take();
            let Token::Word(word) = placed.token else {
                return Err(unexpected(&placed, "the next name of the path"));
            };
            segments.push(self.segment(word, placed.offset)?);
        }
        Ok(ExprNode::Path(segments))
    }

    fn segment(&mut self, name: String, offset: usize) -> Result<PathSegment, OttlError> {
        if name.contains(|c: char| c.is_ascii_uppercase()) {
            let message = format!("{} in a path; paths are lower case", super::lexer::quote(&name));
            return Err(OttlError::new(offset, message));
        }
        let keys = self.keys(1)?;
        Ok(PathSegment { name, keys })
    }

    /// Parses keys in brackets. Keys after the first `free` ones look inside of a value, so they count as operators.
    fn keys(&mut self, free: usize) -> Result<Vec<Expr>, OttlError> {
        let mut keys = Vec::new();
        while self.accept_symbol("[") {
            if keys.len() >= free {
                self.count_operator()?;
            }
            keys.push(self.nested(Self::sum)?);
            self.expect_symbol("]")?;
        }
        Ok(keys)
    }

    /// Parses the entries of a map up to its closing brace and consumes the brace.
    fn map(&mut self) -> Result<Vec<(String, Expr)>, OttlError> {
        let mut entries = Vec::new();
        if self.accept_symbol("}") {
            return Ok(entries);
        }
        loop {
            let placed = self.take();
            let Token::Text(key) = placed.token else {
                return Err(unexpected(&placed, "a key in double quotes"));
            };
            self.expect_symbol(":")?;
            entries.push((key, self.nested(Self::or)?));
            if self.accept_symbol("}") {
                return Ok(entries);
            }
            if !self.accept_symbol(",") {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
    }
}

fn unexpected(found: &Placed, expected: &str) -> OttlError {
    let error = OttlError::new(found.offset, format!("expected {expected}, found {}", found.token.shown()));
    match found.token {
        Token::Symbol("=") => error.help("equality is written `==`"),
        _ => error,
    }
}
