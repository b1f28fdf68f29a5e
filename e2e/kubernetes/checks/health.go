package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	lua "github.com/yuin/gopher-lua"
)

// health runs a health script on an object, both as Argo CD does: the script sees the object as `obj`, has only the libraries
// that Argo CD opens, and returns a table with `status` and `message`. It prints them as JSON.
func health(arguments []string) error {
	if len(arguments) != 1 {
		return errors.New("name one script")
	}
	script, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var object map[string]any
	if err := json.Unmarshal(input, &object); err != nil {
		return fmt.Errorf("cannot parse the object: %w", err)
	}
	result, err := run(string(script), object)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

type healthResult struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// Statuses that Argo CD accepts from a script.
var statuses = map[string]bool{"Healthy": true, "Progressing": true, "Degraded": true, "Suspended": true, "Missing": true, "Unknown": true}

func run(script string, object map[string]any) (healthResult, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		call := lua.P{Fn: state.NewFunction(open), NRet: 0, Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return healthResult{}, err
		}
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return healthResult{}, err
	}
	table, isTable := state.Get(-1).(*lua.LTable)
	if !isTable {
		return healthResult{}, fmt.Errorf("the script returned a %s, not a table", state.Get(-1).Type())
	}
	result := healthResult{lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message"))}
	if !statuses[result.Status] {
		return result, fmt.Errorf("Argo CD knows no status %q", result.Status)
	}
	return result, nil
}

// value converts parsed JSON. Lists begin with 1; null is absent.
func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case float64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		list := state.CreateTable(len(from), 0)
		for _, item := range from {
			list.Append(value(state, item))
		}
		return list
	case map[string]any:
		table := state.CreateTable(0, len(from))
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	}
	return lua.LNil
}
