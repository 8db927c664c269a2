package fargate

import (
	"fmt"
	"strconv"
	"strings"
)

// bundleVariables tell aurora-runner what to fetch. FromEnv passes them on.
var bundleVariables = []string{
	"AURORA_BUNDLE_URL", "AURORA_BUNDLE_SHA256", "MIGRATION_BUNDLE_URL", "MIGRATION_BUNDLE_SHA256",
}

// FromEnv reads a Config from environment variables, given by a function such
// as [os.LookupEnv]. Lists are separated by commas.
//
//	AURORA_TASK_DEFINITION        TaskDefinition
//	AURORA_TASK_CLUSTER           Cluster
//	AURORA_TASK_CONTAINER         Container
//	AURORA_TASK_SUBNETS           Subnets
//	AURORA_TASK_SECURITY_GROUPS   SecurityGroups
//	AURORA_TASK_PUBLIC_IP         AssignPublicIP: true or false
//	AURORA_TASK_PLATFORM_VERSION  PlatformVersion
//	AURORA_TASK_ENV               Args: --env and the name
//	AURORA_TASK_CONFIRM           Confirm
//	AURORA_BUNDLE_URL, AURORA_BUNDLE_SHA256,
//	MIGRATION_BUNDLE_URL, MIGRATION_BUNDLE_SHA256
//	                              Env: passed on to the container
func FromEnv(lookup func(string) (string, bool)) (Config, error) {
	get := func(name string) string {
		v, _ := lookup(name)
		return v
	}
	cfg := Config{
		TaskDefinition: get("AURORA_TASK_DEFINITION"), Cluster: get("AURORA_TASK_CLUSTER"),
		Container: get("AURORA_TASK_CONTAINER"), PlatformVersion: get("AURORA_TASK_PLATFORM_VERSION"),
		Subnets: List(get("AURORA_TASK_SUBNETS")), SecurityGroups: List(get("AURORA_TASK_SECURITY_GROUPS")),
		Confirm: get("AURORA_TASK_CONFIRM"),
	}
	if v := get("AURORA_TASK_PUBLIC_IP"); v != "" {
		public, err := strconv.ParseBool(v)
		if err != nil {
			return cfg, fmt.Errorf("AURORA_TASK_PUBLIC_IP: want true or false, not %q", v)
		}
		cfg.AssignPublicIP = public
	}
	if env := get("AURORA_TASK_ENV"); env != "" {
		cfg.Args = []string{"--env=" + env}
	}
	for _, name := range bundleVariables {
		if v := get(name); v != "" {
			if cfg.Env == nil {
				cfg.Env = map[string]string{}
			}
			cfg.Env[name] = v
		}
	}
	return cfg, nil
}

// List cuts a list at its commas. Empty text is no list.
func List(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	out := strings.Split(text, ",")
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}
