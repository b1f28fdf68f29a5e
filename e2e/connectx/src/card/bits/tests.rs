use crate::card::bits::Field;

/// The bits of a buffer, one byte each.
fn spread(buffer: &[u8]) -> Vec<u8> {
    buffer
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect()
}

/// A buffer in which neighbouring bits differ irregularly.
fn buffer() -> [u8; 16] {
    std::array::from_fn(|index| (index as u8).wrapping_mul(0x9d) ^ 0x5a)
}

/// Every field of up to 64 bits in the buffer.
fn fields() -> impl Iterator<Item = Field> {
    (0..64).flat_map(|bit| (1..=64).map(move |width| Field::new(bit, width)))
}

#[test]
fn a_field_is_read_most_significant_bit_first() {
    let bits = spread(&buffer());
    for field in fields() {
        let expected = bits[field.bit..field.bit + field.width]
            .iter()
            .fold(0, |value, bit| value << 1 | u64::from(*bit));
        assert_eq!(field.get(&buffer()), expected, "{field:?}");
    }
}

#[test]
fn writing_a_field_changes_no_other_bit() {
    for field in fields() {
        for value in [0, u64::MAX, 0x0123_4567_89ab_cdef] {
            let mut written = buffer();
            field.set(&mut written, value);
            let mut expected = spread(&buffer());
            for (shift, bit) in expected[field.bit..field.bit + field.width]
                .iter_mut()
                .rev()
                .enumerate()
            {
                *bit = (value >> shift & 1) as u8;
            }
            assert_eq!(spread(&written), expected, "{field:?} {value:#x}");
        }
    }
}

#[test]
fn a_field_behind_the_buffer_is_zero_and_not_written() {
    let mut short = [0xff; 2];
    let field = Field::new(8, 16);
    assert_eq!(field.get(&short), 0xff00);
    field.set(&mut short, 0x1234);
    assert_eq!(short, [0xff, 0x12]);
}

#[test]
fn a_field_of_a_nested_structure_is_moved() {
    assert_eq!(Field::new(5, 3).inside(Field::new(64, 512)), Field::new(69, 3));
    assert_eq!(Field::new(69, 3).byte(), 8);
}

/// Fields whose places the kernel's sources state elsewhere (`struct mlx5_init_seg`, `struct mlx5_cqe64`,
/// `MLX5_BYTE_OFF` in the driver).
#[test]
fn the_generated_layout_agrees_with_known_places() {
    use crate::card::layout::{
        cmd_in, cqc, create_eq_in, fte_match_set_lyr_2_4, nic_vport_context, opcode, wq,
    };

    assert_eq!(cmd_in::OP_MOD, Field::new(48, 16));
    assert_eq!(cqc::DBR_ADDR, Field::new(0x1c0, 64));
    assert_eq!(create_eq_in::PAS.byte(), 0x110);
    assert_eq!(wq::PAS.byte(), 0xc0);
    assert_eq!(fte_match_set_lyr_2_4::ETHERTYPE, Field::new(0x30, 16));
    assert_eq!(nic_vport_context::SIZE, 256);
    assert_eq!(opcode::CREATE_RQ, 0x908);
}
