package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"gopkg.in/ini.v1"
)

// Files are the two files in which people keep profiles.
type Files struct{ Config, Credentials string }

// FindFiles returns the files that the variables AWS_CONFIG_FILE and
// AWS_SHARED_CREDENTIALS_FILE name, or those in ~/.aws.
func FindFiles(lookupEnv func(string) (string, bool)) Files {
	config, _ := lookupEnv("AWS_CONFIG_FILE")
	credentials, _ := lookupEnv("AWS_SHARED_CREDENTIALS_FILE")
	return Files{
		Config:      cmp.Or(config, awsconfig.DefaultSharedConfigFilename()),
		Credentials: cmp.Or(credentials, awsconfig.DefaultSharedCredentialsFilename()),
	}
}

// Profiles returns the names of all profiles in both files, sorted, with
// "default" first. A file that does not exist has none. Nothing else of the
// files is kept: they hold secrets. The rules for names of sections are those
// of the AWS SDKs and Tools Reference Guide, "Shared config and credentials
// files".
func (f Files) Profiles() ([]string, error) {
	seen := make(map[string]bool)
	for _, file := range []struct {
		path     string
		isConfig bool
	}{{f.Config, true}, {f.Credentials, false}} {
		sections, err := sections(file.path)
		if err != nil {
			return nil, err
		}
		for _, s := range sections {
			if name, ok := profileName(s, file.isConfig); ok {
				seen[name] = true
			}
		}
	}
	var names []string
	for name := range seen {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if (a == "default") != (b == "default") {
			return cmp.Compare(b2i(b == "default"), b2i(a == "default"))
		}
		return strings.Compare(a, b)
	})
	return names, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func sections(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the AWS profiles: %w", err)
	}
	file, err := ini.LoadSources(ini.LoadOptions{
		AllowNestedValues: true, SkipUnrecognizableLines: true, IgnoreContinuation: true, SpaceBeforeInlineComment: true,
	}, text)
	if err != nil {
		// Its text may quote a line, and a line may be a secret.
		return nil, fmt.Errorf("read the AWS profiles: %s is not in the format of AWS", path)
	}
	return file.SectionStrings(), nil
}

// profileName tells the name of a section's profile, and whether it is one.
func profileName(section string, isConfig bool) (string, bool) {
	section = strings.TrimSpace(section)
	switch {
	case section == ini.DefaultSection: // what stands before all sections
		return "", false
	case section == "default" || !isConfig:
		return section, section != ""
	}
	word, name, _ := strings.Cut(strings.ReplaceAll(section, "\t", " "), " ")
	name = strings.Trim(strings.TrimSpace(name), `"'`)
	return name, word == "profile" && name != ""
}

// Login returns the arguments of the command with which a person signs in to a
// profile again, or nil where the profile does not need that. A profile that
// takes its credentials from another one signs in to that one's session.
func (f Files) Login(ctx context.Context, profile string) ([]string, error) {
	shared, err := f.load(ctx, profile)
	if err != nil {
		return nil, err
	}
	for s := &shared; s != nil; s = s.Source {
		switch {
		case s.SSOSession != nil || s.SSOStartURL != "":
			return []string{"aws", "sso", "login", "--profile", cmp.Or(s.Profile, profile)}, nil
		case s.LoginSession != "":
			return []string{"aws", "login", "--profile", cmp.Or(s.Profile, profile)}, nil
		}
	}
	return nil, nil
}

// A ProfileError says that there is no profile of that name.
type ProfileError struct {
	Profile string
	Known   []string
}

// Error names the profile.
func (e *ProfileError) Error() string {
	return fmt.Sprintf("there is no AWS profile %q", e.Profile)
}

// Hint names those that there are.
func (e *ProfileError) Hint() string {
	if len(e.Known) == 0 {
		return "there are no profiles at all; make one with: aws configure sso"
	}
	return "there are: " + strings.Join(e.Known, ", ")
}

func (f Files) load(ctx context.Context, profile string) (awsconfig.SharedConfig, error) {
	shared, err := awsconfig.LoadSharedConfigProfile(ctx, profile, func(o *awsconfig.LoadSharedConfigOptions) {
		o.ConfigFiles, o.CredentialsFiles = []string{f.Config}, []string{f.Credentials}
	})
	var missing awsconfig.SharedConfigProfileNotExistError
	if errors.As(err, &missing) {
		known, lerr := f.Profiles()
		if lerr != nil {
			return shared, lerr
		}
		return shared, &ProfileError{Profile: profile, Known: known}
	}
	if err != nil {
		return shared, fmt.Errorf("read the AWS profile %q: %w", profile, err)
	}
	return shared, nil
}
