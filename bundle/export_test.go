package bundle

// For the tests that build, which are outside of the package.
var (
	FakeS3 = fakeS3
	Sum    = sum
)
