package firststage

import (
	"fmt"

	"mios/device/fstab"
)

// firstStageMounts returns the entries that the first stage mounts, of which
// the first is the root. All of them must be verified.
func firstStageMounts(all []fstab.Entry) ([]fstab.Entry, error) {
	var mounts []fstab.Entry
	for _, e := range all {
		if !e.FirstStageMount {
			continue
		}
		if e.AVB == "" {
			return nil, fmt.Errorf("%s: first_stage_mount of %s without avb: only what AVB verifies is mounted here", fstabPath, e.MountPoint)
		}
		mounts = append(mounts, e)
	}
	if len(mounts) == 0 || mounts[0].MountPoint != "/" {
		return nil, fmt.Errorf("%s: the first entry with first_stage_mount is not /", fstabPath)
	}
	return mounts, nil
}
