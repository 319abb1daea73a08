//! A source file, read with `syn`: the paths that it names, and how long it is, but for what only tests compile.
//!
//! The tree tells which lines are tests and where modules and functions begin and end; the paths are read from the
//! tokens, so that those inside of macro calls are seen too.

use std::ops::RangeInclusive;
use std::path::Path;

use proc_macro2::{Delimiter, LineColumn, Spacing, Span, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// What is asked of a file.
pub struct Source {
    /// Its path below `src`, for people.
    pub file: String,
    /// The top-level module it is part of; `lib` and `bin` for the roots.
    pub module: String,
    /// The paths that it names, those behind `super` made absolute.
    pub paths: Vec<Named>,
    /// Line, name and length of its functions.
    pub functions: Vec<(usize, String, usize)>,
    /// Its lines without tests.
    pub lines: usize,
    /// Whether it opens with documentation of its own.
    pub documented: bool,
    /// Modules in files that only tests compile, as paths below `src` without extension.
    pub test_modules: Vec<String>,
}

/// A path that is named somewhere.
pub struct Named {
    pub path: Vec<String>,
    pub line: usize,
    /// It stands in a `use`.
    pub imported: bool,
    /// `… as name`.
    pub renamed: bool,
}

/// All files below `root` but those that only tests compile.
pub fn read(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    walk(root, &mut files);
    let below = |file: &Path| file.strip_prefix(root).expect("below src").to_str().expect("UTF-8").replace('\\', "/");
    let read = |file: &Path| std::fs::read_to_string(file).expect("a source file");
    let sources: Vec<Source> = files.iter().map(|file| parse(&below(file), &read(file))).collect();
    let tests: Vec<String> = sources.iter().flat_map(|source| source.test_modules.clone()).collect();
    let is_test = |file: &str| {
        tests.iter().any(|test| file.strip_prefix(test).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
    };
    sources.into_iter().filter(|source| !is_test(&source.file)).collect()
}

/// One file, by its path below `src` and its text.
pub fn parse(file: &str, text: &str) -> Source {
    let tree = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut shape = Shape { home: home(file), ..Shape::default() };
    shape.visit_file(&tree);
    let tokens: TokenStream = text.parse().expect("it has parsed before");
    let mut paths = Vec::new();
    collect(tokens, &[], false, &mut paths);
    paths.retain(|(_, start)| !shape.is_test(*start));
    let absolute = |(named, start)| shape.absolute(named, start);
    let tested: usize = shape.tests.iter().map(|lines| lines.end().line - lines.start().line + 1).sum();
    Source {
        file: file.to_owned(),
        module: home(file).first().cloned().unwrap_or_else(|| root_name(file).to_owned()),
        paths: paths.into_iter().map(absolute).collect(),
        functions: shape.functions,
        lines: text.lines().count().saturating_sub(tested),
        documented: text.starts_with("//!"),
        test_modules: shape.test_modules,
    }
}

/// The module of ours that an absolute path leads into.
pub fn target(named: &Named) -> Option<&str> {
    match named.path.as_slice() {
        [root, target, ..] if root == "crate" && target != "self" => Some(target),
        _ => None,
    }
}

fn walk(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            walk(&entry, files);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
}

/// The module path of a file: `wire/reader.rs` is `wire::reader`, `wire/mod.rs` is `wire`, `lib.rs` is nothing.
fn home(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" || path.starts_with("bin/") { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

fn root_name(file: &str) -> &str {
    if file.starts_with("bin/") { "bin" } else { "lib" }
}

/// What the tree tells: tests, functions, modules within the file.
#[derive(Default)]
struct Shape {
    home: Vec<String>,
    tests: Vec<RangeInclusive<LineColumn>>,
    modules: Vec<(RangeInclusive<LineColumn>, usize)>,
    functions: Vec<(usize, String, usize)>,
    test_modules: Vec<String>,
    depth: usize,
}

impl Shape {
    fn is_test(&self, start: LineColumn) -> bool {
        self.tests.iter().any(|range| range.contains(&start))
    }

    /// Remembers `span` as tests when its attributes say so.
    fn test(&mut self, attributes: &[syn::Attribute], span: Span) -> bool {
        let is_test = attributes.iter().any(only_for_tests);
        if is_test {
            self.tests.push(span.start()..=span.end());
        }
        is_test
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let start = signature.span().start().line;
        self.functions.push((start, signature.ident.to_string(), block.span().end().line - start + 1));
    }

    /// Replaces `self` and `super` by where they lead.
    fn absolute(&self, mut named: Named, start: LineColumn) -> Named {
        let within = self.modules.iter().filter(|(range, _)| range.contains(&start)).map(|(_, depth)| *depth).max();
        let ups = named.path.iter().take_while(|name| *name == "super" || *name == "self").count();
        if ups > 0 {
            let supers = named.path.iter().take_while(|name| *name != "crate").filter(|name| *name == "super").count();
            let mut path = vec!["crate".to_owned()];
            // A name of a module within the file stands for nothing of the table: any will do.
            path.extend(self.home.iter().cloned().chain((0..within.unwrap_or(0)).map(|_| "within".to_owned())));
            path.truncate((path.len() - supers.min(path.len() - 1)).max(1));
            path.extend(named.path.drain(ups..));
            named.path = path;
        }
        named
    }
}

impl<'ast> Visit<'ast> for Shape {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let is_test = self.test(attributes(item), item.span());
        if let (true, syn::Item::Mod(module)) = (is_test, item)
            && module.content.is_none()
        {
            let path: Vec<String> = self.home.iter().cloned().chain([module.ident.to_string()]).collect();
            self.test_modules.push(path.join("/"));
        }
        if !is_test {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.depth += 1;
        if let Some((brace, _)) = &module.content {
            self.modules.push((brace.span.open().start()..=brace.span.close().end(), self.depth));
        }
        visit::visit_item_mod(self, module);
        self.depth -= 1;
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Const(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !self.test(attributes, item.span()) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.function(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.test(&field.attrs, field.span());
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !self.test(&variant.attrs, variant.span()) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !self.test(&local.attrs, local.span()) {
            visit::visit_local(self, local);
        }
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an attribute is a `#[cfg(…)]` that needs `test` or `fuzzing`.
fn only_for_tests(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Meta>().is_ok_and(|condition| needs_test(&condition))
}

fn needs_test(condition: &syn::Meta) -> bool {
    let parts = || match condition {
        syn::Meta::List(list) => {
            let parse = syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated;
            list.parse_args_with(parse).map(|parts| parts.into_iter().collect::<Vec<_>>()).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let path = condition.path();
    if path.is_ident("all") {
        parts().iter().any(needs_test)
    } else if path.is_ident("any") {
        !parts().is_empty() && parts().iter().all(needs_test)
    } else {
        path.is_ident("test") || path.is_ident("fuzzing")
    }
}

/// All paths in `tokens`, each with the place where it begins; `prefix` stands before those of a braced `use`.
fn collect(tokens: TokenStream, prefix: &[String], in_use: bool, paths: &mut Vec<(Named, LineColumn)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut in_use = in_use;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Group(group) => {
                collect(group.stream(), &[], false, paths);
                at += 1;
            }
            TokenTree::Punct(punct) => {
                in_use &= punct.as_char() != ';';
                if punct.as_char() == '*' && !prefix.is_empty() {
                    push(prefix, &["*".to_owned()], token.span(), in_use, false, paths);
                }
                // A field or method isn't the start of a path.
                at += if punct.as_char() == '.' && is_ident(tokens.get(at + 1)) { 2 } else { 1 };
            }
            TokenTree::Ident(ident) if ident == "use" => {
                in_use = true;
                at += 1;
            }
            TokenTree::Ident(_) => at = one(&tokens, at, prefix, in_use, paths),
            TokenTree::Literal(_) => at += 1,
        }
    }
}

/// The path that begins with the name at `at`; returns where to go on.
fn one(
    tokens: &[TokenTree],
    mut at: usize,
    prefix: &[String],
    in_use: bool,
    paths: &mut Vec<(Named, LineColumn)>,
) -> usize {
    let start = tokens[at].span();
    let mut names = vec![tokens[at].to_string()];
    at += 1;
    while is_colons(tokens, at) {
        match tokens.get(at + 2) {
            Some(TokenTree::Ident(name)) => names.push(name.to_string()),
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => names.push("*".to_owned()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let prefix: Vec<String> = prefix.iter().cloned().chain(names).collect();
                collect(group.stream(), &prefix, in_use, paths);
                return at + 3;
            }
            _ => break, // the `<` of generics: what is in it are paths of their own
        }
        at += 3;
    }
    let renamed = matches!(tokens.get(at), Some(TokenTree::Ident(word)) if word == "as") && in_use;
    push(prefix, &names, start, in_use, renamed, paths);
    if renamed { at + 2 } else { at }
}

fn push(
    prefix: &[String],
    names: &[String],
    start: Span,
    imported: bool,
    renamed: bool,
    paths: &mut Vec<(Named, LineColumn)>,
) {
    let mut path: Vec<String> = prefix.iter().chain(names).cloned().collect();
    if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
        path.pop(); // `use a::{self}` is `use a`
    }
    paths.push((Named { path, line: start.start().line, imported, renamed }, start.start()));
}

fn is_ident(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Ident(_)))
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |token: Option<&TokenTree>, spacing: Option<Spacing>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':' && spacing.is_none_or(|s| punct.spacing() == s));
    colon(tokens.get(at), Some(Spacing::Joint)) && colon(tokens.get(at + 1), None)
}
