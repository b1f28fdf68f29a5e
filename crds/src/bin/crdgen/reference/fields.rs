//! Lists the fields of a schema.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};

use super::{SELECTOR, joined, values};

/// The description of one field.
pub(super) struct Field {
    pub(super) path: String,
    pub(super) of: String,
    pub(super) required: bool,
    pub(super) default: String,
    pub(super) limits: String,
    pub(super) description: String,
    /// Where a rule applies, and its message.
    pub(super) rules: Vec<(String, String)>,
}

/// Returns all fields below a schema, a parent before its children.
pub(super) fn fields(schema: &JSONSchemaProps) -> Vec<Field> {
    let mut found = Vec::new();
    below("", schema, &mut found);
    found
}

pub(super) fn is_selector(schema: &JSONSchemaProps) -> bool {
    schema
        .properties
        .as_ref()
        .is_some_and(|properties| properties.contains_key("matchExpressions"))
}

fn below(path: &str, schema: &JSONSchemaProps, found: &mut Vec<Field>) {
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, child) in schema.properties.iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        found.push(field(&path, child, required.contains(name)));
        if is_selector(child) {
            continue;
        }
        match item(child) {
            Some(item) => {
                let path = format!("{path}[]");
                below(&path, item, found);
            }
            None => below(&path, child, found),
        }
    }
}

fn field(path: &str, schema: &JSONSchemaProps, required: bool) -> Field {
    let inner = item(schema).or_else(|| values(schema));
    let own = (!is_selector(schema)).then(|| (path.to_owned(), schema));
    let below = inner.map(|inner| (format!("{path}[]"), inner));
    let rules = own
        .into_iter()
        .chain(below)
        .flat_map(|(path, schema)| messages(schema).map(move |text| (path.clone(), text)));
    Field {
        path: path.to_owned(),
        of: type_of(schema),
        required,
        default: schema
            .default
            .as_ref()
            .map(|default| format!("`{}`", default.0))
            .unwrap_or_default(),
        limits: joined([
            limits(schema),
            inner.and_then(limits).map(|text| format!("each {text}")),
        ]),
        description: schema.description.clone().unwrap_or_default(),
        rules: rules.collect(),
    }
}

/// Returns the messages of the validation rules.
pub(super) fn messages(schema: &JSONSchemaProps) -> impl Iterator<Item = String> {
    let rules = schema.x_kubernetes_validations.iter().flatten();
    rules.filter_map(|rule| rule.message.clone())
}

fn item(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(item) => Some(item),
        JSONSchemaPropsOrArray::Schemas(items) => items.first(),
    }
}

fn type_of(schema: &JSONSchemaProps) -> String {
    if is_selector(schema) {
        return SELECTOR.to_owned();
    }
    if let Some(item) = item(schema) {
        return format!("list of {}s", type_of(item));
    }
    if let Some(values) = values(schema) {
        return format!("map of {}s", type_of(values));
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        return "integer or string".to_owned();
    }
    match schema.format.as_deref() {
        Some("date-time") => "time".to_owned(),
        _ => schema.type_.clone().unwrap_or_default(),
    }
}

fn limits(schema: &JSONSchemaProps) -> Option<String> {
    let range = match (schema.minimum, schema.maximum) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) => Some(format!("from {least}")),
        (None, Some(most)) => Some(format!("to {most}")),
        (None, None) => None,
    };
    let words = schema.enum_.iter().map(|words| {
        let words: Vec<String> = words
            .iter()
            .map(|word| format!("`{}`", word.0.as_str().unwrap_or_default()))
            .collect();
        words.join(" ")
    });
    let text = joined(words.map(Some).chain([
        range,
        schema.max_items.map(|most| format!("≤ {most} items")),
        schema.max_properties.map(|most| format!("≤ {most} entries")),
        schema.min_length.map(|least| format!("≥ {least} characters")),
        schema.max_length.map(|most| format!("≤ {most} characters")),
    ]));
    (!text.is_empty()).then_some(text)
}
