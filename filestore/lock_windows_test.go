package filestore

import "syscall"

var networkErrors = []error{syscall.Errno(50)} // ERROR_NOT_SUPPORTED
