package check

import (
	"fmt"
	"slices"
	"strings"

	"mios"
	"mios/internal/progress"
	"mios/publish/app/report"
)

// succession is what a device demands of an update.
func (j *judge) succession() {
	if j.App.Package != j.old.App.Package {
		j.add("package", j.App.Package, fmt.Sprintf("The version before is of the package %s.", j.old.App.Package), "Hand it in as an app of its own.")
		return
	}
	if j.App.VersionCode <= j.old.App.VersionCode {
		j.add("version-code", fmt.Sprint(j.App.VersionCode), fmt.Sprintf("The version code %d is not above %d, that of the version before.",
			j.App.VersionCode, j.old.App.VersionCode), "Raise android:versionCode; to go back to an older version, release that one again.")
	}
	if len(j.Signers) == 0 || len(j.old.Signers) == 0 || slices.Equal(j.Signers, j.old.Signers) {
		return
	}
	if len(j.Signers) == 1 && len(j.old.Signers) == 1 && slices.Contains(j.Lineage, j.old.Signers[0]) {
		j.add("rotation", short(j.Signers[0]), fmt.Sprintf("It is signed by a new key, which %s has named as its successor.", short(j.old.Signers[0])), "")
		return
	}
	j.add("signer", short(j.Signers[0]), fmt.Sprintf("It is signed by %s; the version before by %s, which has named no successor. To devices that is another app: they refuse the update.",
		shorts(j.Signers), shorts(j.old.Signers)), "Sign it with the same key, or with a new one and a lineage (mios app lineage create).")
}

func short(d mios.Digest) string { return d.String()[:16] }

func shorts(list []mios.Digest) string {
	var out []string
	for _, d := range list {
		out = append(out, short(d))
	}
	return strings.Join(out, " and ")
}

func (j *judge) olderDevices() {
	if j.App.TargetSDK < j.old.App.TargetSDK {
		j.add("target-sdk-lowered", fmt.Sprint(j.App.TargetSDK), fmt.Sprintf("It is made for %s, the version before for %s.",
			report.Android(j.App.TargetSDK), report.Android(j.old.App.TargetSDK)), "Keep targetSdkVersion: with a lower one an app escapes what newer Androids protect people by.")
	}
	if j.App.MinSDK > j.old.App.MinSDK {
		j.add("min-sdk-raised", fmt.Sprint(j.App.MinSDK), fmt.Sprintf("Devices older than %s keep the version before.", report.Android(j.App.MinSDK)), "")
	}
}

func (j *judge) addedPermissions() {
	before := j.old.Permissions()
	for _, p := range j.Permissions() {
		i := slices.IndexFunc(before, func(o report.Permission) bool { return o.Name == p.Name })
		wider := i >= 0 && before[i].MaxSDK > 0 && (p.MaxSDK == 0 || p.MaxSDK > before[i].MaxSDK)
		if i >= 0 && !wider {
			continue
		}
		detail := "New since the version before: " + p.Name + about(p) + "."
		if wider {
			detail = "Asked for on newer devices than before: " + p.Name + about(p) + "."
		}
		if p.Implied != "" {
			detail += " It is not asked for, but follows: " + p.Implied + "."
		}
		if p.Group == report.GroupPerson || p.Group == report.GroupSetting || slices.Contains(j.policy.Sensitive, p.Name) {
			j.add("permission-added", p.Name, detail, "Check that the change to the app needs it.")
		} else {
			j.add("permission", p.Name, detail, "")
		}
	}
}

func (j *judge) addedComponents() {
	before := make(map[string]report.Component)
	for _, c := range j.old.Components() {
		before[string(c.Kind)+" "+c.Name] = c
	}
	for _, c := range j.Components() {
		was, known := before[string(c.Kind)+" "+c.Name]
		var why string
		switch {
		case !c.Exported:
			continue
		case !known || !was.Exported:
			why = "New since the version before: other apps can start"
		case was.Permission != "" && c.Permission == "":
			why = "No longer guarded by " + was.Permission + ": other apps can start"
		default:
			continue
		}
		detail := fmt.Sprintf("%s the %s %s", why, c.Kind, c.Name)
		if len(c.Actions) > 0 {
			detail += ", by " + strings.Join(c.Actions, ", ")
		}
		if c.Permission != "" {
			j.add("exported", c.Name, detail+", if they have "+c.Permission+".", "")
		} else {
			j.add("exported-added", c.Name, detail+".", "Check what it does with what it is given.")
		}
	}
}

func (j *judge) lostABIs() {
	now := j.ABIs()
	for _, abi := range j.old.ABIs() {
		if len(now) > 0 && !slices.Contains(now, abi) {
			j.add("abi-lost", abi, "Devices with "+abi+" processors keep the version before: there is no native code for them any more.", "Build it for them too.")
		}
	}
	if len(now) > 0 && len(j.old.ABIs()) == 0 {
		j.add("abi-lost", strings.Join(now, " "), "The app had no native code, and now has some for "+strings.Join(now, ", ")+" only.", "Build it for all processors.")
	}
}

func (j *judge) growth() {
	if j.policy.Growth == 0 || j.old.Size <= 0 || float64(j.Size) <= j.policy.Growth*float64(j.old.Size) {
		return
	}
	before := make(map[string]int64)
	for _, p := range j.old.Parts() {
		before[p.Name] = p.Size
	}
	var parts []string
	for _, p := range j.Parts() {
		if p.Size > before[p.Name] {
			parts = append(parts, fmt.Sprintf("%s from %s to %s", p.Name, progress.Size(before[p.Name]), progress.Size(p.Size)))
		}
	}
	j.add("growth", "", fmt.Sprintf("It has grown from %s to %s: %s.", progress.Size(j.old.Size), progress.Size(j.Size), strings.Join(parts, ", ")), "Check that all of it is meant to be there.")
}

func (j *judge) moreGoogle() {
	if j.Google != nil && j.old.Google != nil && j.Google.Verdict.Worse(j.old.Google.Verdict) {
		j.add("google-added", string(j.Google.Verdict), fmt.Sprintf("Without Google's services it %s; the version before %s.", j.Google.Verdict, j.old.Google.Verdict),
			"Let people keep what they have: make what is new optional.")
	}
}

func (j *judge) addedFeatures() {
	for _, f := range j.App.Features {
		had := slices.ContainsFunc(j.old.App.Features, func(o report.Feature) bool { return o.Name == f.Name && o.Required })
		if f.Required && !had {
			j.add("feature-added", f.Name, "Devices without "+f.Name+" keep the version before.", "Mark it android:required=\"false\" if the app does without.")
		}
	}
}
