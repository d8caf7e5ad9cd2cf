// SPDX-License-Identifier: MPL-2.0

//! Weaves mutants into a source, each behind its switch.

use std::collections::HashSet;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::{At, Mutant};

/// A source with its mutants, and where they are in it, for the compiler's complaints.
pub struct Woven {
    pub text: String,
    pub regions: Vec<(Range<usize>, Vec<usize>)>,
    /// Mutants that have no place: fields of structures, chains with `let`.
    pub left_out: Vec<usize>,
}

/// A place that can be mutated. Ranges in bytes of the source.
struct Place {
    range: Range<usize>,
    kind: Kind,
    mutants: Vec<usize>,
}

enum Kind {
    Binary {
        left: Range<usize>,
        op: Range<usize>,
        right: Range<usize>,
    },
    Unary {
        op: Range<usize>,
        of: Range<usize>,
    },
    Guard,
    /// An arm without a guard: its range is empty, behind the pattern.
    Arm,
    Body,
    /// Without some of its arms it may not build.
    Match,
}

/// Weaves the mutants of this file that are chosen.
pub fn weave(
    source: &str,
    file: &str,
    mutants: &[Mutant],
    chosen: &HashSet<usize>,
) -> Result<Woven, String> {
    let parsed = syn::parse_file(source).map_err(|e| format!("{file}: {e}"))?;
    let mut places = Places { places: Vec::new() };
    places.visit_file(&parsed);
    let mut places = places.places;
    let lines: Vec<usize> =
        std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let offset = |at: At| {
        let begin = lines.get(at.line - 1).copied().unwrap_or(source.len());
        let chars = source[begin..].char_indices().map(|(n, _)| n);
        begin + chars.chain([source.len() - begin]).nth(at.column - 1).unwrap_or(0)
    };
    let mut left_out = Vec::new();
    for (id, m) in
        mutants.iter().enumerate().filter(|(id, m)| m.file == file && chosen.contains(id))
    {
        let span = offset(m.span.start)..offset(m.span.end);
        let at = places.iter_mut().find(|p| match (&p.kind, m.genre.as_str()) {
            (Kind::Binary { op, .. }, "BinaryOperator") => *op == span,
            (Kind::Unary { op, .. }, "UnaryOperator") => *op == span,
            (Kind::Guard, "MatchArmGuard") => p.range == span,
            (Kind::Arm | Kind::Guard, "MatchArm") => {
                span.start <= p.range.start && p.range.end <= span.end
            }
            (Kind::Body, "FnValue") => p.range.start <= span.start && span.end <= p.range.end,
            _ => false,
        });
        match at {
            Some(place) => place.mutants.push(id),
            None => left_out.push(id),
        }
        let around = places.iter_mut().filter(|p| {
            matches!(p.kind, Kind::Match) && p.range.start <= span.start && span.end <= p.range.end
        });
        if m.genre == "MatchArm"
            && let Some(all) = around.min_by_key(|p| p.range.len())
        {
            all.mutants.push(id);
        }
    }
    places.retain(|p| !p.mutants.is_empty());
    // The outer ones first.
    places.sort_by_key(|p| (p.range.start, std::cmp::Reverse(p.range.end)));
    let mut out = Out { source, mutants, text: String::new(), regions: Vec::new() };
    out.emit(0..source.len(), &places);
    Ok(Woven { text: out.text, regions: out.regions, left_out })
}

struct Out<'a> {
    source: &'a str,
    mutants: &'a [Mutant],
    text: String,
    regions: Vec<(Range<usize>, Vec<usize>)>,
}

impl Out<'_> {
    /// The source in this range, with the places in it.
    fn emit(&mut self, range: Range<usize>, places: &[Place]) {
        let mut at = range.start;
        for (i, place) in places.iter().enumerate() {
            let inside = range.start <= place.range.start && place.range.end <= range.end;
            if !inside || place.range.start < at {
                continue;
            }
            self.text += &self.source[at..place.range.start];
            let begin = self.text.len();
            self.place(place, &places[i + 1..]);
            self.regions.push((begin..self.text.len(), place.mutants.clone()));
            at = place.range.end;
        }
        self.text += &self.source[at..range.end];
    }

    fn place(&mut self, place: &Place, within: &[Place]) {
        match &place.kind {
            Kind::Binary { left, op, right } => {
                let (l, r) = (&self.source[left.clone()], &self.source[right.clone()]);
                self.text += "(";
                for &id in &place.mutants {
                    let new = &self.mutants[id].replacement;
                    self.branch(id, &format!("({l}) {new} ({r})"));
                }
                self.text += "{ ";
                self.emit(left.clone(), within);
                self.text += &format!(" {} ", &self.source[op.clone()]);
                self.emit(right.clone(), within);
                self.text += " })";
            }
            Kind::Unary { op, of } => {
                self.text += "(";
                for &id in &place.mutants {
                    self.branch(id, &self.source[of.clone()]);
                }
                self.text += &format!("{{ {}", &self.source[op.clone()]);
                self.emit(of.clone(), within);
                self.text += " })";
            }
            Kind::Guard => {
                self.text += "(";
                for &id in &place.mutants {
                    let arm = self.mutants[id].genre == "MatchArm";
                    let new = if arm { "false" } else { &self.mutants[id].replacement };
                    self.branch(id, new);
                }
                self.text += "{ ";
                self.emit(place.range.clone(), within);
                self.text += " })";
            }
            Kind::Arm => {
                let on = |id: &usize| format!("!crate::mutant::on({id})");
                let all: Vec<String> = place.mutants.iter().map(on).collect();
                self.text += &format!(" if {}", all.join(" && "));
            }
            Kind::Match => self.emit(place.range.clone(), within),
            Kind::Body => {
                self.text += "{ ";
                for &id in &place.mutants {
                    let begin = self.text.len();
                    let new = &self.mutants[id].replacement;
                    self.text += &format!("if crate::mutant::on({id}) {{ return {new}; }} ");
                    self.regions.push((begin..self.text.len(), vec![id]));
                }
                self.emit(place.range.start + 1..place.range.end, within);
            }
        }
    }

    fn branch(&mut self, id: usize, text: &str) {
        let begin = self.text.len();
        self.text += &format!("if crate::mutant::on({id}) {{ {text} }} else ");
        self.regions.push((begin..self.text.len(), vec![id]));
    }
}

struct Places {
    places: Vec<Place>,
}

impl Places {
    fn add(&mut self, range: Range<usize>, kind: Kind) {
        self.places.push(Place { range, kind, mutants: Vec::new() });
    }
}

fn range(of: &impl Spanned) -> Range<usize> {
    of.span().byte_range()
}

/// Whether this is a chain with `let`, which cannot be put in parentheses.
fn binds(e: &syn::Expr) -> bool {
    match e {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(b) => binds(&b.left) || binds(&b.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Places {
    fn visit_expr(&mut self, e: &'ast syn::Expr) {
        match e {
            syn::Expr::Binary(b) if !binds(e) => self.add(
                range(e),
                Kind::Binary { left: range(&b.left), op: range(&b.op), right: range(&b.right) },
            ),
            syn::Expr::Unary(u) => {
                self.add(range(e), Kind::Unary { op: range(&u.op), of: range(&u.expr) });
            }
            syn::Expr::Match(_) => self.add(range(e), Kind::Match),
            _ => {}
        }
        visit::visit_expr(self, e);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        match &arm.guard {
            Some((_, guard)) if !binds(guard) => self.add(range(guard), Kind::Guard),
            Some(_) => {}
            None => {
                let end = range(&arm.pat).end;
                self.add(end..end, Kind::Arm);
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.add(range(block), Kind::Body);
        visit::visit_block(self, block);
    }
}
