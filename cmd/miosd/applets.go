//go:build !ramdisk

package main

// applets is everything that runs on a booted device. A daemon is found before
// the shell's commands are made.
func applets(yield func(applet) bool) {
	for _, list := range []func() []applet{daemons, packageApplets, shellApplets} {
		for _, a := range list() {
			if !yield(a) {
				return
			}
		}
	}
}

func daemons() []applet {
	return []applet{
		{"adbd", runAdbd},
		{"init", runInit},
		{"logcat", logcat},
		{"netd", runNetd},
		{"update_engine", runUpdateEngine},
		{"update_engine_client", runUpdateClient},
	}
}
