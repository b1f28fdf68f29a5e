//! Converts derived schemas to what an API server expects.

use std::mem;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

pub(super) fn definition(definition: &mut CustomResourceDefinition) {
    for version in &mut definition.spec.versions {
        if let Some(root) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            schema(root);
        }
    }
}

/// Converts a schema and all schemas below it.
fn schema(props: &mut JSONSchemaProps) {
    // An optional field is absent; `null` is not a value in this API.
    props.nullable = None;
    props.format = props.format.take().map(|format| known_format(&format).to_owned());
    props.description = props.description.take().map(|text| paragraphs(&text));
    below(props).for_each(schema);
}

fn below(props: &mut JSONSchemaProps) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let properties = props
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut());
    let items = props.items.iter_mut().flat_map(|items| match items {
        JSONSchemaPropsOrArray::Schema(item) => vec![&mut **item],
        JSONSchemaPropsOrArray::Schemas(items) => items.iter_mut().collect(),
    });
    let values = props
        .additional_properties
        .iter_mut()
        .filter_map(|values| match values {
            JSONSchemaPropsOrBool::Schema(value) => Some(&mut **value),
            JSONSchemaPropsOrBool::Bool(_) => None,
        });
    properties.chain(items).chain(values)
}

/// Returns a format that the API server knows: it warns of others. The minimum replaces the `u` of a format.
fn known_format(format: &str) -> &str {
    match format {
        "uint8" | "uint16" => "int32",
        "uint32" | "uint64" | "uint" => "int64",
        other => other,
    }
}

/// Joins the lines of the source. An empty line starts a paragraph.
fn paragraphs(text: &str) -> String {
    let mut paragraphs = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim).chain([""]) {
        if !line.is_empty() {
            lines.push(line);
        } else if !lines.is_empty() {
            paragraphs.push(mem::take(&mut lines).join(" "));
        }
    }
    paragraphs.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_paragraphs_kept() {
        assert_eq!(paragraphs("a\n b\n\n\nc\n"), "a b\n\nc");
    }

    #[test]
    fn unsigned_formats_become_ones_the_api_server_knows() {
        assert_eq!(known_format("uint32"), "int64");
        assert_eq!(known_format("date-time"), "date-time");
    }
}
