// Package ecstest is a stand-in for ECS Fargate and CloudWatch Logs in tests. A
// task is a real process: as root it runs in a copy of the unpacked image, by
// chroot, as user 65532 and as PID 1 of a namespace of its own; otherwise the
// image's program runs directly. Environment, command, exit codes, log lines,
// SIGTERM, and SIGKILL after the stop timeout are the process's own.
//
// Not to be had here: IAM, the network of a task, pulls of images, limits of
// processor and memory.
package ecstest
