package filestore

var networkErrors = []error{errorNotSupported}
