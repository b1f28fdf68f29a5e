-- Health of an XdpPolicy for Argo CD: its condition Ready.

-- Reasons that pass within moments if all works: not a fault yet.
local transient = {
  Outdated = true,
  Pending = true,
  PeersPending = true,
}

local function health(status, message)
  return {status = status, message = message}
end

local ready = nil
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Ready" then
      ready = condition
    end
  end
end

if ready == nil or ready.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "the operator has not reported this version of the policy yet")
end
local message = ready.reason .. ": " .. ready.message
if ready.status == "True" then
  return health("Healthy", message)
end
if ready.status == "Unknown" or transient[ready.reason] then
  return health("Progressing", message)
end
return health("Degraded", message)
