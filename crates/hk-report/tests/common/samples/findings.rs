//! A finding of every kind, and some that are odd.

use super::parts::*;
use hk_report::*;

/// All of them.
pub fn all_findings() -> Vec<Finding> {
    let list = vec![
        double_free(),
        use_after_free(),
        overrun_write(),
        overrun_of_20_mib(),
        underrun_write(),
        overrun_read_by_system_call(),
        underrun_read_of_one_byte(),
        damage_found_at_exit(),
        mismatched(),
        wrong_layout(),
        not_block_start(),
        not_of_heap(),
        without_anything(),
        of_a_later_version(),
    ];
    list.into_iter().enumerate().map(|(at, finding)| finished(at, finding)).collect()
}

fn finished(at: usize, mut finding: Finding) -> Finding {
    if finding.id.is_empty() {
        finding.id = format!("HK-X-{:08x}", (at as u32 + 1).wrapping_mul(0x9e37_79b9));
    }
    finding.message = first_sentence(&finding);
    finding
}

fn double_free() -> Finding {
    let opened = frame("session_open", "src/session.c", 13, "s->name = strdup(name);");
    let evicted = frame("cache_evict", "src/cache.c", 22, "free(s->name);");
    let closed = frame("session_close", "src/session.c", 19, "free(session->name);");
    let allocated = event(MS, &[library("strdup"), opened]);
    let freed =
        Event { thread: thread("evictor", 4730), ..event(18 * MS + 180_000, std::slice::from_ref(&evicted)) };
    let site = |count, frame: &StackFrame| FreeSite { count, stack: vec![frame.clone()] };
    Finding {
        id: "HK-DF-3f9a01c2".into(),
        stack: stack(std::slice::from_ref(&closed)),
        population: Some(Population {
            blocks: 4121,
            frees: 4120,
            free_sites: vec![site(4119, &closed), site(1, &evicted)],
        }),
        culprit: Some(Culprit {
            function: "cache_evict".into(),
            place: Some("cache.c:22".into()),
            confidence: "high".into(),
            reasons: vec![
                "4119 of 4120 freed blocks of this allocation site were freed by session_close, 1 \
                 by cache_evict"
                    .into(),
                "session_close did what it does with every block of this site".into(),
            ],
        }),
        fix: Some(
            "either cache_evict at cache.c:22 does not own the block and must not free it, or all pointers to \
             the block are to be set to NULL there"
                .into(),
        ),
        repeats: 3,
        process_count: 2,
        ..at_offset("double-free", 415, life(42, 16, allocated, Some(freed)), 0)
    }
}

/// Forty frames, a huge name, names that are no ASCII, and an allocation that ended in the middle of nowhere.
fn use_after_free() -> Finding {
    let huge = format!("std::map<{}int{}>::insert", "std::pair<const Größe, ".repeat(40), " >".repeat(40));
    let own = format!("shop::Kasse::<{}>::zählen(堆::Block<'_>)", "std::vector<Posten>, ".repeat(30));
    let mut deep = vec![StackFrame {
        inlined: true,
        ..frame(&own, "src/kasse/zähler 1.cc", 101, "return it->second; // <b>&amp;</b>")
    }];
    deep.extend((0..8).map(|_| frame(&huge, "src/map.h", 7, "")));
    deep.extend(
        (0..28)
            .map(|depth| frame(&format!("visit<{depth}>"), "src/visit.cc", 40 + depth, "visit(node->next);")),
    );
    let worker = |event: Event, id| Event { thread: thread("wörker\u{1b}[31m-with-long-name", id), ..event };
    let allocated = worker(
        event(
            2_000 * MS,
            &[
                library("operator new(unsigned long)"),
                frame("Kasse::neu", "src/kasse/zähler 1.cc", 12, "return new Posten;"),
            ],
        ),
        4801,
    );
    let freed = Event {
        stack: Vec::new(),
        stack_state: "absent".into(),
        ..worker(event(2_000 * MS + 180, &[]), 4802)
    };
    Finding {
        id: "HK-UAF-00c0ffee".into(),
        call: "access".into(),
        evidence: "trap".into(),
        access: access("read", Some(8), "mov rax,[rdi+10h]"),
        time_ns: 63_000 * MS,
        thread: thread("wörker\u{1b}[31m-with-long-name", 4801),
        stack: stack(&deep),
        stack_state: "cut".into(),
        ..at_offset("use-after-free", 416, life(200, 16, allocated, Some(freed)), 16)
    }
}

fn overrun_write() -> Finding {
    let add =
        frame("order_add(Order*, Item const&)", "src/order.cc", 88, "order->items[order->count++] = item;");
    let new = frame("order_new", "src/order.cc", 31, "order->items = calloc(10, sizeof(Item));");
    Finding {
        id: "HK-OW-77aa0011".into(),
        call: "access".into(),
        evidence: "trap".into(),
        access: access("write", Some(4), "mov [rax],ecx"),
        stack: stack(&[add]),
        culprit: Some(Culprit {
            function: "order_add".into(),
            place: Some("order.cc:88".into()),
            confidence: "high".into(),
            reasons: vec!["it made the access itself".into()],
        }),
        fix: Some("this access needs a block of 47 bytes; order_new at order.cc:31 asked for 40".into()),
        ..at_offset("overrun-write", 122, life(40, 8, event(4 * MS, &[new]), None), 43)
    }
}

fn overrun_of_20_mib() -> Finding {
    let blur = frame("image_blur", "src/image.c", 140, "row[x + radius] += row[x];");
    let load = frame("image_load", "src/image.c", 60, "pixels = aligned_alloc(64, size);");
    Finding {
        call: "access".into(),
        evidence: "trap".into(),
        access: access("write", Some(32), "vmovdqu [rdi],ymm0"),
        stack: stack(&[blur]),
        time_ns: 1_500 * MS,
        status: "known".into(),
        ..at_offset("overrun-write", 122, life(20 << 20, 64, event(4 * MS, &[load]), None), 20 << 20)
    }
}

fn underrun_write() -> Finding {
    let pop = frame("stack_pop", "src/stack.c", 9, "stack->items[--stack->count] = 0;");
    Finding {
        call: "access".into(),
        evidence: "trap".into(),
        access: access("write", Some(8), "mov qword ptr [rax-8],0"),
        stack: stack(&[pop]),
        aborted: true,
        ..at_offset("underrun-write", 124, life(4096, 16, event(MS, &[]), None), -8)
    }
}

fn overrun_read_by_system_call() -> Finding {
    let send = frame("reply_send", "src/net/reply.c", 77, "write(fd, reply->text, reply->length + 1);");
    Finding {
        call: "system-call".into(),
        evidence: "buffer".into(),
        access: access("read", Some(129), ""),
        stack: stack(&[library("write"), send]),
        status: "suppressed".into(),
        suppressed_by: Some("heapkeeper.toml:12 (until 2027-01-31, owner <net team>)".into()),
        ..at_offset("overrun-read", 126, life(128, 16, event(MS, &[]), None), 128)
    }
}

fn underrun_read_of_one_byte() -> Finding {
    Finding {
        call: "access".into(),
        evidence: "trap".into(),
        access: access("read", Some(1), "movzx eax,byte ptr [rdi-1]"),
        stack: stack(&[frame("trim", "src/text.c", 5, "while (isspace(text[length - 1])) length--;")]),
        ..at_offset("underrun-read", 127, life(1, 1, event(19 * MS, &[]), None), -1)
    }
}

fn damage_found_at_exit() -> Finding {
    let (block, life) = life(42, 16, event(5 * MS, &[]), None);
    Finding {
        call: "exit".into(),
        evidence: "canary".into(),
        access: access("write", Some(3), ""),
        stack: Vec::new(),
        stack_state: "absent".into(),
        ..at_offset("overrun-write", 122, (block, life), 43)
    }
}

fn mismatched() -> Finding {
    let allocated =
        Event { family: "new-array".into(), ..event(MS, &[library("operator new[](unsigned long)")]) };
    Finding {
        place: "inside-live-block".into(),
        stack: stack(&[frame("Buffer::~Buffer()", "src/buffer.cc", 14, "free(bytes_);")]),
        fix: Some("free the block by delete[], as it was allocated".into()),
        ..at_offset("mismatched-deallocation", 762, life(64, 16, allocated, None), 0)
    }
}

fn wrong_layout() -> Finding {
    let allocated = Event { family: "rust".into(), ..event(MS, &[]) };
    let drop = frame(
        "<shop::Arena as core::ops::Drop>::drop::{closure#0}",
        "src/arena.rs",
        33,
        "dealloc(self.at, layout);",
    );
    Finding {
        call: "dealloc".into(),
        stack: stack(&[drop]),
        ..at_offset("wrong-layout", 762, life(96, 32, allocated, None), 0)
    }
}

/// Not guarded: nothing is known of the block's life.
fn not_block_start() -> Finding {
    Finding {
        place: "inside-live-block".into(),
        block: Some(Block { start: Address(0x10_0040), bytes: 64, offset: 16 }),
        address: Address(0x10_0050),
        stack: stack(&[frame("list_free", "src/list.c", 8, "free(&list->head);")]),
        stack_state: "broken".into(),
        fix: Some("free the start of the block: 16 bytes before this address".into()),
        ..base("not-block-start", 761)
    }
}

fn not_of_heap() -> Finding {
    let unknown = StackFrame {
        module: Some("/opt/vendor/libpay.so.2".into()),
        offset: Some(Address(0x4f20)),
        pc: Address(0x7fff_1234_4f20),
        ..StackFrame::default()
    };
    Finding {
        place: "mapped-file".into(),
        region: Some(Region {
            start: Address(0x7f00_0000_0000),
            end: Address(0x7f00_0001_0000),
            name: Some("/var/lib/shop/a <b> & c.db".into()),
        }),
        address: Address(0x7f00_0000_0123),
        stack: stack(&[unknown]),
        ..base("not-of-heap", 590)
    }
}

/// The process died while the record was written.
fn without_anything() -> Finding {
    Finding {
        stack_state: "absent".into(),
        thread: ThreadRef::default(),
        process: ProcessRef::default(),
        ..base("double-free", 415)
    }
}

/// Words that this version does not know.
fn of_a_later_version() -> Finding {
    Finding {
        call: "unknown-99".into(),
        place: "unknown-77".into(),
        evidence: "unknown-9".into(),
        stack: vec![StackFrame { pc: Address(0xdead_beef), ..StackFrame::default() }],
        ..base("unknown-42", 0)
    }
}
