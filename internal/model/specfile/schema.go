package specfile

import _ "embed" // for the schema

//go:embed schema.json
var schema string

// Schema returns the JSON schema (draft 2020-12) of a service document. It
// knows the keys, types and ranges; what depends on several values, such as two
// parts that clash, only [Parse] finds.
func Schema() []byte { return []byte(schema) }
