// Package property is AOSP's property service: short names with short values
// that the whole system can read, wait for, and, with permission, set. It has
// the store that init keeps, the server on a Unix socket, and the client.
package property

// MaxValue is the most bytes that a value may have, without the final zero of
// AOSP's PROP_VALUE_MAX; values of ro. names may be longer.
const MaxValue = 91

// A Property is a name with its value.
type Property struct {
	Name, Value string
}
