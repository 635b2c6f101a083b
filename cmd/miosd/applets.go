//go:build !ramdisk

package main

import "slices"

// applets is everything that runs on a booted device.
var applets = slices.Concat([]applet{
	{"adbd", runAdbd},
	{"init", runInit},
	{"logcat", logcat},
	{"netd", runNetd},
	{"update_engine", runUpdateEngine},
	{"update_engine_client", runUpdateClient},
}, packageApplets(), shellApplets())
