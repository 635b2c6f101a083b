package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mios"
)

// ProgramsEnv names the environment variable with the folder of the device's
// programs, where they are not beside the running program.
const ProgramsEnv = "MIOS_PROGRAMS"

// Programs returns the files of the device's programs for an architecture:
// miosd-ARCH and miosd-ramdisk-ARCH, beside the running program. Whoever has
// mios has them, and needs no Go.
func Programs(arch mios.Arch) (full, ramdisk string, err error) {
	dir := os.Getenv(ProgramsEnv)
	if dir == "" {
		exe, err := os.Executable()
		if err != nil {
			return "", "", err
		}
		if exe, err = filepath.EvalSymlinks(exe); err != nil {
			return "", "", err
		}
		dir = filepath.Dir(exe)
	}
	full, ramdisk = filepath.Join(dir, "miosd-"+string(arch)), filepath.Join(dir, "miosd-ramdisk-"+string(arch))
	for _, f := range []string{full, ramdisk} {
		if _, err := os.Stat(f); errors.Is(err, fs.ErrNotExist) {
			return "", "", fmt.Errorf("%s: %w: the device's programs stand beside mios; \"make build\" makes them", f, mios.ErrNotFound)
		}
	}
	return full, ramdisk, nil
}
