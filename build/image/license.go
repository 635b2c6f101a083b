package image

// licenses holds the licence of each Go module that miosd is built from, as an
// SPDX expression. A test compares it with what miosd really links.
var licenses = map[string]string{}

// License returns the SPDX expression of a Go module's licence, or NOASSERTION
// where the table does not know it.
func License(module string) string {
	if l, ok := licenses[module]; ok {
		return l
	}
	return "NOASSERTION"
}
