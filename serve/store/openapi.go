package store

import (
	"encoding"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// object is a part of the description: OpenAPI 3.1 with its schemas in JSON
// Schema 2020-12 (https://spec.openapis.org/oas/v3.1.1).
type object = map[string]any

func (s *Service) openAPI(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Access-Control-Allow-Origin", "*")
	return writeBytes(w, http.StatusOK, s.spec())
}

// describe makes the description of operations.
func describe(list []operation) []byte {
	d := &describer{schemas: object{}, types: map[string]reflect.Type{}}
	paths := object{}
	for i := range list {
		o := &list[i]
		item, ok := paths[Base+o.path].(object)
		if !ok {
			item = object{}
			paths[Base+o.path] = item
		}
		item[strings.ToLower(o.method)] = d.operation(o)
	}
	d.tus(paths)
	paths["/healthz"] = object{"get": plainOperation("health", "Tell that the process lives", "200", "503")}
	paths["/readyz"] = object{"get": plainOperation("ready", "Tell whether the process can do its work", "200", "503")}
	for _, p := range paths {
		for method, o := range p.(object) {
			if m, ok := o.(object); ok && m["security"] == nil && method != "parameters" {
				m["security"] = []any{}
			}
		}
	}
	b, err := marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "miOS store", "version": "1",
			"description": "Uploads, reviews and releases of apps. Errors are problems as RFC 9457 has them, and say what to do. Whoever sends a POST or PUT with the header Idempotency-Key may send it again and gets the same answer.",
		},
		"servers": []any{object{"url": "/"}},
		"paths":   paths,
		"components": object{
			"schemas":         d.finish(),
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer", "description": "A token's secret, made with mios store token create."}},
			"responses": object{"problem": object{
				"description": "What is wrong, and what to do.",
				"content":     object{"application/problem+json": object{"schema": ref("Problem")}},
			}},
		},
	})
	if err != nil {
		panic(err) // maps, texts and numbers can be written
	}
	return b
}

func plainOperation(id, summary string, statuses ...string) object {
	responses := object{}
	for _, status := range statuses {
		code, _ := strconv.Atoi(status)
		responses[status] = object{"description": http.StatusText(code)}
	}
	return object{"operationId": id, "summary": summary, "responses": responses}
}

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// A describer collects the schemas of types.
type describer struct {
	schemas object
	types   map[string]reflect.Type // by the schema's name
}

func (d *describer) finish() object {
	d.schema(reflect.TypeFor[Problem]())
	return d.schemas
}

// operation describes one.
func (d *describer) operation(o *operation) object {
	scopes := []any{}
	words := "Any token will do."
	if len(o.scopes) > 0 {
		words = "Needs a token with the scope " + joinOr(o.scopes) + "."
	}
	status := max(o.status, http.StatusOK)
	out := object{
		"operationId": o.id, "summary": o.summary, "description": words,
		"security": []any{object{"token": scopes}},
		"responses": object{
			strconv.Itoa(status): object{"description": http.StatusText(status), "content": object{"application/json": object{"schema": d.schema(o.out)}}},
			"default":            object{"$ref": "#/components/responses/problem"},
		},
	}
	var params []any
	body := object{"type": "object", "properties": object{}, "additionalProperties": false}
	var required []string
	for _, f := range reflect.VisibleFields(o.in) {
		schema := d.field(f)
		if name := f.Tag.Get("path"); name != "" {
			params = append(params, object{"name": name, "in": "path", "required": true, "schema": schema})
		} else if name := f.Tag.Get("query"); name != "" {
			params = append(params, object{"name": name, "in": "query", "schema": schema})
		} else if name, optional := jsonName(f); name != "" {
			body["properties"].(object)[name] = schema
			if !optional {
				required = append(required, name)
			}
		}
	}
	if o.hasBody() {
		if !o.private {
			params = append(params, object{"name": "Idempotency-Key", "in": "header", "description": "any text: the same request with the same key gets the same answer", "schema": object{"type": "string", "maxLength": maxKey}})
		}
		if len(required) > 0 {
			body["required"] = required
		}
		out["requestBody"] = object{"required": len(required) > 0, "content": object{"application/json": object{"schema": body}}}
	}
	if params != nil {
		out["parameters"] = params
	}
	return out
}

// jsonName returns a field's name in JSON, "" for none, and whether it may be
// left out.
func jsonName(f reflect.StructField) (name string, optional bool) {
	name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" || !f.IsExported() {
		return "", false
	}
	if name == "" {
		name = f.Name
	}
	return name, strings.Contains(opts, "omitempty") || strings.Contains(opts, "omitzero")
}

// field describes a field with its tags.
func (d *describer) field(f reflect.StructField) object {
	schema := d.schema(f.Type)
	doc, enum := f.Tag.Get("doc"), f.Tag.Get("enum")
	if doc == "" && enum == "" {
		return schema
	}
	out := object{}
	for k, v := range schema {
		out[k] = v
	}
	if doc != "" {
		out["description"] = doc
	}
	if enum != "" {
		to := out
		if items, ok := out["items"].(object); ok {
			to = object{}
			for k, v := range items {
				to[k] = v
			}
			out["items"] = to
		}
		values := []any{}
		for v := range strings.SplitSeq(enum, ",") {
			values = append(values, v)
		}
		to["enum"] = values
	}
	return out
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
	textType = reflect.TypeFor[encoding.TextMarshaler]()
	jsonType = reflect.TypeFor[json.Marshaler]()
)

// schema describes a type. Structs get a name of their own.
func (d *describer) schema(t reflect.Type) object {
	switch {
	case t.Kind() == reflect.Pointer:
		return d.schema(t.Elem())
	case t == timeType:
		return object{"type": "string", "format": "date-time"}
	case t == rawType, t.Implements(jsonType), reflect.PointerTo(t).Implements(jsonType):
		return object{}
	case t.Implements(textType):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": []any{"string", "null"}, "contentEncoding": "base64"}
		}
		return object{"type": []any{"array", "null"}, "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": []any{"object", "null"}, "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.structure(t)
	}
	return object{}
}

func (d *describer) structure(t reflect.Type) object {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	if old, ok := d.types[name]; ok && old != t {
		pkg, _, _ := strings.Cut(t.String(), ".")
		name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	if _, ok := d.schemas[name]; ok {
		return ref(name)
	}
	properties := object{}
	out := object{"type": "object", "properties": properties}
	d.types[name] = t
	d.schemas[name] = out // before its fields, which may be of the same type
	required := []string{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous && f.Tag.Get("json") == "" {
			continue // its fields follow
		}
		field, optional := jsonName(f)
		if field == "" {
			continue
		}
		properties[field] = d.field(f)
		if f.Type.Kind() == reflect.Pointer && !optional {
			properties[field] = object{"anyOf": []any{d.field(f), object{"type": "null"}}}
		}
		if !optional {
			required = append(required, field)
		}
	}
	if len(required) > 0 {
		out["required"] = required
	}
	return ref(name)
}

// tus describes the uploads, which have headers in place of JSON.
func (d *describer) tus(paths object) {
	header := func(name, words string, required bool) object {
		return object{"name": name, "in": "header", "required": required, "description": words, "schema": object{"type": "string"}}
	}
	version := header("Tus-Resumable", tusVersion, true)
	id := object{"name": "id", "in": "path", "required": true, "schema": object{"type": "string"}}
	bytes := object{"content": object{tusType: object{}}}
	add := func(path, method, id, summary, status string, params ...any) object {
		o := plainOperation(id, summary, status)
		o["responses"].(object)["default"] = object{"$ref": "#/components/responses/problem"}
		o["description"] = "The tus protocol " + tusVersion + " with " + tusExtensions + ": https://tus.io/protocols/resumable-upload. Needs a token with the scope upload."
		if params != nil {
			o["parameters"] = params
		}
		o["security"] = []any{object{"token": []any{}}}
		item, ok := paths[Base+path].(object)
		if !ok {
			item = object{}
			paths[Base+path] = item
		}
		item[method] = o
		return o
	}
	o := add("/uploads", "options", "uploadOptions", "Tell what the upload protocol can do here", "204")
	o["security"] = []any{}
	o = add("/uploads", "post", "createUpload", "Begin an upload, with its first bytes or none", "201", version,
		header("Upload-Length", "bytes that the file has", true),
		header("Upload-Metadata", "filename and, if known, sha256, each with its value in Base64", false),
		header("Upload-Checksum", "of the bytes that come: sha1 or sha256, and its value in Base64", false))
	o["requestBody"] = bytes
	add("/uploads/{id}", "head", "getUpload", "Tell how far an upload is", "200", id, version)
	o = add("/uploads/{id}", "patch", "continueUpload", "Send bytes of an upload", "204", id, version,
		header("Upload-Offset", "where the upload is", true), header("Upload-Checksum", "of the bytes that come: sha1 or sha256, and its value in Base64", false))
	o["requestBody"] = bytes
	add("/uploads/{id}", "delete", "endUpload", "End an upload without a file", "204", id, version)
}
