package fdroid

import (
	"slices"

	"mios"
	"mios/publish/app/report"
)

// NewVersion returns what a report says of an APK, as a version of its app. The
// caller adds when it came and what people are told of it.
func NewVersion(a *report.App, f File) Version {
	v := Version{
		File: f, Code: a.VersionCode, Name: a.VersionName, MinSDK: a.MinSDK, TargetSDK: a.TargetSDK, MaxSDK: a.MaxSDK,
		ABIs: slices.Clone(a.ABIs),
	}
	if a.Signature != nil {
		for _, s := range a.Signature.Signers {
			if d, err := mios.ParseDigest(s.Digest); err == nil && s.Current {
				v.Signers = append(v.Signers, d)
			}
		}
	}
	for _, f := range a.Features {
		if f.Required && len(f.Implied) == 0 {
			v.Features = append(v.Features, f.Name)
		}
	}
	for _, p := range a.Permissions {
		to := &v.Permissions
		if p.MinSDK >= 23 {
			to = &v.PermissionsSDK23
		}
		*to = append(*to, Permission{p.Name, p.MaxSDK})
	}
	return v
}
