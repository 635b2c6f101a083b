package apk

import (
	"errors"
)

var errPending = errors.New("apk: not read")

// Badging reads all that the package shows of itself.
func (f *File) Badging() (*Badging, error) { return nil, errPending }

// ImpliedFeatures returns the features that the manifest needs without saying
// so, by aapt's rules, sorted by name.
func (m *Manifest) ImpliedFeatures() []ImpliedFeature { return nil }

// DeviceClasses returns the classes of devices that the package is for.
func (m *Manifest) DeviceClasses() []DeviceClass { return nil }

// Launchable returns the activity that the home screen starts, or nil.
func (m *Manifest) Launchable() *Component { return nil }

// NewSplitSet checks that the packages, of which one must be a base, belong
// together: one package name and version, no name twice, every feature that one
// needs is there. Who signed them is package apksig's matter.
func NewSplitSet(packages []*Badging) (*SplitSet, error) { return nil, errPending }

// For returns the splits that the device needs beside the base.
func (s *SplitSet) For(d Device) []*Split { return nil }
