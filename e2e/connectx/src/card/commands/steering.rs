//! Commands for flow tables, groups, entries and counters.

use crate::card::{
    commands::{Answer, NOT_MODELLED, Refusal, Status, from, remove, unknown},
    device::Device,
    layout::{
        alloc_flow_counter_out, cmd_in, create_flow_group_in, create_flow_group_out, create_flow_table_out,
        dealloc_flow_counter_in, delete_fte_in, destroy_flow_group_in, destroy_flow_table_in,
        modify_flow_table_in, opcode, set_flow_table_root_in, set_fte_in,
    },
    steering::{Destination, FlowCounter, FlowEntry, FlowGroup, FlowTable},
};

/// The first number of tables, groups and counters.
const FIRST: u32 = 1;
/// Bits of `modify_enable_mask`.
const ACTION: u64 = 1;
const TAG: u64 = 2;
const DESTINATIONS: u64 = 4;

/// Levels that do not rise could be a loop.
const FALLING: Refusal = Refusal {
    status: Status::BadParameter,
    reason: "the level of the flow table does not rise",
};

impl Device {
    pub(super) fn flow_command(&mut self, opcode: u16, input: &[u8], output: &mut [u8]) -> Answer {
        match opcode {
            opcode::SET_FLOW_TABLE_ROOT => self.set_root(input),
            opcode::CREATE_FLOW_TABLE => self.create_table(input, output),
            opcode::MODIFY_FLOW_TABLE => self.modify_table(input),
            opcode::DESTROY_FLOW_TABLE => {
                self.destroy_flow_table(destroy_flow_table_in::TABLE_ID.get(input) as u32)
            }
            opcode::CREATE_FLOW_GROUP => self.create_group(input, output),
            opcode::DESTROY_FLOW_GROUP => self.destroy_group(input),
            opcode::SET_FLOW_TABLE_ENTRY => self.set_entry(input),
            opcode::DELETE_FLOW_TABLE_ENTRY => self.delete_entry(input),
            opcode::ALLOC_FLOW_COUNTER => {
                let number = self.id("fcnt", FIRST);
                self.flow_counters.insert(number, FlowCounter::default());
                alloc_flow_counter_out::FLOW_COUNTER_ID.set(output, u64::from(number));
                Ok(())
            }
            opcode::DEALLOC_FLOW_COUNTER => {
                self.destroy_flow_counter(dealloc_flow_counter_in::FLOW_COUNTER_ID.get(input) as u32)
            }
            _ => Err(NOT_MODELLED),
        }
    }

    fn set_root(&mut self, input: &[u8]) -> Answer {
        let table = set_flow_table_root_in::TABLE_ID.get(input) as u32;
        if !self.flow_tables.contains_key(&table) {
            return Err(Status::BadResource.because("no such flow table"));
        }
        self.root_tables
            .insert(set_flow_table_root_in::TABLE_TYPE.get(input) as u8, table);
        Ok(())
    }

    fn destroy_flow_counter(&mut self, number: u32) -> Answer {
        let counts = |entry: &FlowEntry| entry.counters.contains(&number);
        if self
            .flow_tables
            .values()
            .any(|table| table.entries.values().any(counts))
        {
            return Err(Status::Busy.because("a flow entry has the counter"));
        }
        remove(&mut self.flow_counters, number, "no such flow counter")
    }

    fn create_table(&mut self, input: &[u8], output: &mut [u8]) -> Answer {
        let table = FlowTable::parse(input);
        self.check_miss(&table)?;
        let number = self.id("ft", FIRST);
        self.flow_tables.insert(number, table);
        create_flow_table_out::TABLE_ID.set(output, u64::from(number));
        Ok(())
    }

    fn modify_table(&mut self, input: &[u8]) -> Answer {
        let number = modify_flow_table_in::TABLE_ID.get(input) as u32;
        let mut table = self
            .flow_tables
            .get(&number)
            .cloned()
            .ok_or_else(unknown("no such flow table"))?;
        table.modify(input);
        self.check_miss(&table)?;
        self.flow_tables.insert(number, table);
        Ok(())
    }

    fn destroy_flow_table(&mut self, number: u32) -> Answer {
        if self.flow_tables.values().any(|table| table.refers_to(number)) {
            return Err(Status::Busy.because("another flow table refers to the table"));
        }
        if self
            .flow_tables
            .get(&number)
            .is_some_and(|table| !table.groups.is_empty())
        {
            return Err(Status::Busy.because("the flow table has groups"));
        }
        self.root_tables.retain(|_, root| *root != number);
        remove(&mut self.flow_tables, number, "no such flow table")
    }

    fn create_group(&mut self, input: &[u8], output: &mut [u8]) -> Answer {
        let table = create_flow_group_in::TABLE_ID.get(input) as u32;
        let group = FlowGroup::parse(input).map_err(|reason| Status::BadParameter.because(reason))?;
        let number = self.id("fg", FIRST);
        let table = self
            .flow_tables
            .get_mut(&table)
            .ok_or_else(unknown("no such flow table"))?;
        table.groups.insert(number, group);
        create_flow_group_out::GROUP_ID.set(output, u64::from(number));
        Ok(())
    }

    fn destroy_group(&mut self, input: &[u8]) -> Answer {
        let table = destroy_flow_group_in::TABLE_ID.get(input) as u32;
        let group = destroy_flow_group_in::GROUP_ID.get(input) as u32;
        let table = self
            .flow_tables
            .get_mut(&table)
            .ok_or_else(unknown("no such flow table"))?;
        if table.entries.values().any(|entry| entry.group == group) {
            return Err(Status::Busy.because("the flow group has entries"));
        }
        remove(&mut table.groups, group, "no such flow group")
    }

    fn set_entry(&mut self, input: &[u8]) -> Answer {
        let number = set_fte_in::TABLE_ID.get(input) as u32;
        let index = set_fte_in::FLOW_INDEX.get(input) as u32;
        let new = FlowEntry::parse(from(input, set_fte_in::FLOW_CONTEXT)?)
            .map_err(|reason| Status::BadParameter.because(reason))?;
        self.check_destinations(number, &new)?;
        let table = self
            .flow_tables
            .get_mut(&number)
            .ok_or_else(unknown("no such flow table"))?;
        if !table
            .groups
            .get(&new.group)
            .is_some_and(|group| (group.first..=group.last).contains(&index))
        {
            return Err(Status::BadParameter.because("the index is not in the flow group"));
        }
        if cmd_in::OP_MOD.get(input) == 0 {
            let free = table.entries.insert(index, new).is_none();
            return free
                .then_some(())
                .ok_or(Status::BadParameter.because("the index has an entry"));
        }
        let entry = table
            .entries
            .get_mut(&index)
            .ok_or_else(unknown("no such flow entry"))?;
        let changes = set_fte_in::MODIFY_ENABLE_MASK.get(input);
        if changes & ACTION != 0 {
            entry.action = new.action;
        }
        if changes & TAG != 0 {
            entry.tag = new.tag;
        }
        if changes & DESTINATIONS != 0 {
            entry.destinations = new.destinations;
        }
        Ok(())
    }

    /// The table for frames that match nothing must exist and be higher.
    fn check_miss(&self, table: &FlowTable) -> Answer {
        let Some(miss) = table.miss else { return Ok(()) };
        let miss = self
            .flow_tables
            .get(&miss)
            .ok_or_else(unknown("no such flow table"))?;
        let rises = miss.level > table.level;
        rises.then_some(()).ok_or(FALLING)
    }

    /// Destinations must exist, and tables must rise, which rules out loops.
    fn check_destinations(&self, table: u32, entry: &FlowEntry) -> Answer {
        let level = |number: &u32| self.flow_tables.get(number).map(|table| table.level);
        for destination in &entry.destinations {
            match destination {
                Destination::Table(number) if level(number).is_none() => {
                    return Err(unknown("no such flow table")());
                }
                Destination::Table(number) if level(number) <= level(&table) => {
                    return Err(FALLING);
                }
                Destination::Tir(number) if !self.tirs.contains_key(number) => {
                    return Err(unknown("no such TIR")());
                }
                Destination::Table(_) | Destination::Tir(_) => {}
            }
        }
        let counted = entry
            .counters
            .iter()
            .all(|counter| self.flow_counters.contains_key(counter));
        counted.then_some(()).ok_or_else(unknown("no such flow counter"))
    }

    fn delete_entry(&mut self, input: &[u8]) -> Answer {
        let table = delete_fte_in::TABLE_ID.get(input) as u32;
        let index = delete_fte_in::FLOW_INDEX.get(input) as u32;
        let table = self
            .flow_tables
            .get_mut(&table)
            .ok_or_else(unknown("no such flow table"))?;
        remove(&mut table.entries, index, "no such flow entry")
    }
}
