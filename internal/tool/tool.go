// Package tool is the one place where programs of other people's are looked
// for, and where it stands which Debian package brings each.
package tool

import "errors"

// Look returns the path of a program, or an error that says what to install.
func Look(name string) (string, error) { return "", errors.ErrUnsupported }
