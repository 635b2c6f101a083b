// Package applet lists the names by which miosd is called on a device: what
// build/image makes links for in /system/bin. A test of cmd/miosd holds it
// against the program.
package applet

// Names is in byte order.
var Names = []string{}
