//go:build linux

package ecstest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

type keyValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type runTaskInput struct {
	ClientToken, Cluster, LaunchType, StartedBy, TaskDefinition string
	NetworkConfiguration                                        struct {
		AwsvpcConfiguration struct {
			Subnets []string
		}
	}
	Overrides struct {
		ContainerOverrides []struct {
			Name        string
			Command     []string
			Environment []keyValue
		}
	}
}

func (s *Server) runTask(body json.RawMessage) (any, *Fault) {
	var in runTaskInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, invalid("%v", err)
	}
	if in.ClientToken != "" {
		if t, ok := s.tokens[in.ClientToken]; ok {
			if s.bodies[in.ClientToken] != string(body) {
				return nil, &Fault{Type: "ConflictException", Message: "The request conflicts with an earlier one.", Resources: []string{t.arn}}
			}
			return map[string]any{"tasks": []any{t.describe()}, "failures": []any{}}, nil
		}
	}
	d, fault := s.definition(in.TaskDefinition)
	if fault != nil {
		return nil, fault
	}
	if in.LaunchType != "FARGATE" {
		return nil, invalid("this server runs Fargate tasks only, not launch type %q", in.LaunchType)
	}
	if len(in.NetworkConfiguration.AwsvpcConfiguration.Subnets) == 0 {
		return nil, invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	}
	if raw := overridesLength(body); raw > 8192 {
		return nil, invalid("Container Overrides length must be at most 8192")
	}
	t := s.newTask(d, in)
	for _, o := range in.Overrides.ContainerOverrides {
		if o.Name != d.Container {
			return nil, invalid("Override for container named %s is not a container in the TaskDefinition.", o.Name)
		}
		if o.Command != nil {
			t.command = o.Command
		}
		for _, kv := range o.Environment {
			t.env[kv.Name] = kv.Value
		}
	}
	if len(s.failures) > 0 {
		reason := s.failures[0]
		s.failures = s.failures[1:]
		return map[string]any{"tasks": []any{}, "failures": []any{map[string]string{"reason": reason}}}, nil
	}
	s.tasks[t.arn] = t
	if in.ClientToken != "" {
		s.tokens[in.ClientToken], s.bodies[in.ClientToken] = t, string(body)
	}
	out := map[string]any{"tasks": []any{t.describe()}, "failures": []any{}}
	s.running.Add(1)
	go t.run()
	return out, nil
}

func overridesLength(body json.RawMessage) int {
	var in struct{ Overrides json.RawMessage }
	if err := json.Unmarshal(body, &in); err != nil {
		return 0
	}
	return len(in.Overrides)
}

// definition finds a definition by family, family:1 or ARN.
func (s *Server) definition(name string) (Definition, *Fault) {
	family := name[strings.LastIndex(name, "/")+1:]
	family, revision, _ := strings.Cut(family, ":")
	d, ok := s.defs[family]
	if !ok || revision != "" && revision != "1" {
		return d, &Fault{Type: "ClientException", Message: "TaskDefinition not found."}
	}
	return d, nil
}

func (d Definition) arn() string {
	return fmt.Sprintf("arn:aws:ecs:%s:%s:task-definition/%s:1", Region, Account, d.Family)
}

func (s *Server) describeDefinition(body json.RawMessage) (any, *Fault) {
	var in struct{ TaskDefinition string }
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, invalid("%v", err)
	}
	d, fault := s.definition(in.TaskDefinition)
	if fault != nil {
		return nil, fault
	}
	container := map[string]any{"name": d.Container, "essential": true}
	if d.LogGroup != "" {
		options := map[string]string{"awslogs-group": d.LogGroup, "awslogs-region": Region}
		if d.LogPrefix != "" {
			options["awslogs-stream-prefix"] = d.LogPrefix
		}
		container["logConfiguration"] = map[string]any{"logDriver": "awslogs", "options": options}
	}
	out := map[string]any{"taskDefinitionArn": d.arn(), "family": d.Family, "revision": 1, "containerDefinitions": []any{container}}
	if d.TaskRole != "" {
		out["taskRoleArn"] = d.TaskRole
	}
	return map[string]any{"taskDefinition": out}, nil
}

func (s *Server) describeTasks(body json.RawMessage) (any, *Fault) {
	var in struct {
		Cluster string
		Tasks   []string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, invalid("%v", err)
	}
	tasks, failures := []any{}, []any{}
	for _, name := range in.Tasks {
		t := s.find(in.Cluster, name)
		if t == nil || t.unseen > 0 {
			if t != nil {
				t.unseen--
			}
			failures = append(failures, map[string]string{"arn": name, "reason": "MISSING"})
			continue
		}
		tasks = append(tasks, t.describe())
	}
	return map[string]any{"tasks": tasks, "failures": failures}, nil
}

func (s *Server) find(cluster, name string) *task {
	for _, t := range s.tasks {
		if (t.arn == name || t.id == name) && t.cluster == clusterName(cluster) {
			return t
		}
	}
	return nil
}

// clusterName is the last part of a cluster's name or ARN.
func clusterName(cluster string) string {
	if cluster == "" {
		return "default"
	}
	return cluster[strings.LastIndex(cluster, "/")+1:]
}

func (s *Server) stopTask(body json.RawMessage) (any, *Fault) {
	var in struct{ Cluster, Task, Reason string }
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, invalid("%v", err)
	}
	t := s.find(in.Cluster, in.Task)
	if t == nil {
		return nil, invalid("The referenced task was not found.")
	}
	t.stop("UserInitiated", in.Reason)
	return map[string]any{"task": t.describe()}, nil
}

type event struct {
	at      time.Time
	message string
}

func (s *Server) getLogEvents(body json.RawMessage) (any, *Fault) {
	var in struct {
		LogGroupName, LogStreamName, NextToken string
		StartFromHead                          bool
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, invalid("%v", err)
	}
	all, ok := s.logs[in.LogGroupName+"/"+in.LogStreamName]
	if !ok {
		return nil, &Fault{Type: "ResourceNotFoundException", Message: "The specified log stream does not exist."}
	}
	if !in.StartFromHead {
		return nil, invalid("this server reads from the head only")
	}
	from := 0
	if in.NextToken != "" {
		var err error
		if from, err = strconv.Atoi(strings.TrimPrefix(in.NextToken, "f/")); err != nil {
			return nil, invalid("The specified nextToken is invalid.")
		}
	}
	events, to := []any{}, from
	for to < len(all) && to < from+s.PageSize && time.Since(all[to].at) >= s.LogDelay {
		events = append(events, map[string]any{"timestamp": all[to].at.UnixMilli(), "message": all[to].message})
		to++
	}
	return map[string]any{
		"events": events, "nextForwardToken": fmt.Sprintf("f/%d", to), "nextBackwardToken": fmt.Sprintf("b/%d", from),
	}, nil
}

func credentials(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "secret", Source: "ecstest"}, nil
}

// serveCredentials is the task role's side of the container.
func (s *Server) serveCredentials(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "the task" {
		http.Error(w, "not for you", http.StatusForbidden)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{
		"AccessKeyId": "AKIDTASK", "SecretAccessKey": "secret", "Token": "token",
		"Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	})
}
