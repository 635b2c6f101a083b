package apk

import (
	"errors"
)

var errPending = errors.New("apk: not read")

// NewSplitSet checks that the packages, of which one must be a base, belong
// together: one package name and version, no name twice, every feature that one
// needs is there. Who signed them is package apksig's matter.
func NewSplitSet(packages []*Badging) (*SplitSet, error) { return nil, errPending }

// For returns the splits that the device needs beside the base.
func (s *SplitSet) For(d Device) []*Split { return nil }
