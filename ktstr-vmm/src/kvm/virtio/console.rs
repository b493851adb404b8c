//! The multiport console device: virtio 1.2, section 5.3.

use virtio_queue::Queue;

use super::buffer::Buffer;
use super::control::{HEADER_LEN, Message, event};
use super::mmio::Device;
use super::port::Port;
use super::ring::{Fault, Memory, Next, Ring};

/// The feature bit for several ports and the control queues (`VIRTIO_CONSOLE_F_MULTIPORT`).
pub(super) const MULTIPORT: u64 = 1 << 1;

/// Queues of port 0, which exists for drivers without multiport support. Its input is dropped.
const PORT_0_SENDS: usize = 1;

/// The queue of control messages to the driver.
pub(super) const CONTROL_RECEIVES: usize = 2;

/// The queue of control messages from the driver.
pub(super) const CONTROL_SENDS: usize = 3;

/// Queue size of a port. A driver fills the receive queue with as many pages.
const PORT_QUEUE: u16 = 128;

/// Size of the control queues.
const CONTROL_QUEUE: u16 = 32;

/// Queue size of port 0.
const PORT_0_QUEUE: u16 = 16;

/// Columns, rows, number of ports, emergency write: `struct virtio_console_config`.
const CONFIG_LEN: usize = 12;

/// The receive queue of port `id`; its transmit queue follows.
pub(super) const fn receives(id: usize) -> usize {
    2 * id + 2
}

/// A port and its name; its id is its index plus 1.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) port: Port,
}

/// The device.
#[derive(Debug)]
pub(super) struct Console {
    ports: Vec<Named>,
    config: [u8; CONFIG_LEN],
    multiport: bool,
    /// A buffer for a message of the driver; longer ones are invalid.
    message: Buffer,
    /// More messages of the driver are queued than one turn takes.
    more: bool,
}

impl Console {
    pub(super) fn new(ports: Vec<Named>) -> Self {
        let mut config = [0; CONFIG_LEN];
        // The number of ports is small; port 0 is included.
        config[4..8].copy_from_slice(&(ports.len() as u32 + 1).to_le_bytes());
        Self {
            ports,
            config,
            multiport: false,
            message: Buffer::new(HEADER_LEN),
            more: false,
        }
    }

    /// The port of socket `index`, from 0.
    pub(super) fn port(&mut self, index: usize) -> &mut Port {
        &mut self.ports[index].port
    }

    /// Does one bounded turn for all queues and sockets; returns true if the driver wants an interrupt.
    pub(super) fn serve(&mut self, queues: &mut [Queue], memory: &Memory) -> Result<bool, Fault> {
        let mut interrupt = self.drop_port_0(&mut queues[PORT_0_SENDS], memory)?;
        if !self.multiport {
            return Ok(interrupt);
        }
        interrupt |= self.hear(&mut queues[CONTROL_SENDS], memory)?;
        interrupt |= self.transmit(queues, memory)?;
        for (id, named) in (1..).zip(&mut self.ports) {
            interrupt |= named.port.receive(&mut queues[receives(id)], memory)?;
            named.port.review();
        }
        interrupt |= self.tell(&mut queues[CONTROL_RECEIVES], memory)?;
        Ok(interrupt)
    }

    /// Only takes what the guest sent through its ports; returns true if the driver wants an interrupt.
    pub(super) fn transmit(
        &mut self,
        queues: &mut [Queue],
        memory: &Memory,
    ) -> Result<bool, Fault> {
        let mut interrupt = false;
        if !self.multiport {
            return Ok(interrupt);
        }
        for (id, named) in (1..).zip(&mut self.ports) {
            interrupt |= named.port.transmit(&mut queues[receives(id) + 1], memory)?;
        }
        Ok(interrupt)
    }

    /// Writes to each socket once.
    pub(super) fn send(&mut self) {
        for named in &mut self.ports {
            named.port.send();
        }
    }

    /// Whether another turn would find something to do.
    pub(super) fn can_go_on(&self) -> bool {
        let mut ports = self.ports.iter();
        self.more || self.can_transmit() || ports.any(|named| named.port.can_deliver())
    }

    /// Whether another turn would take more of what the guest sent.
    pub(super) fn can_transmit(&self) -> bool {
        self.ports.iter().any(|named| named.port.can_transmit())
    }

    /// Whether output of the guest waits for room in a socket.
    pub(super) fn is_blocked(&self) -> bool {
        self.ports.iter().any(|named| named.port.is_blocked())
    }

    fn drop_port_0(&mut self, queue: &mut Queue, memory: &Memory) -> Result<bool, Fault> {
        self.more = false;
        let Some(mut ring) = Ring::new(queue, memory)? else {
            return Ok(false);
        };
        loop {
            match ring.next()? {
                Next::Chain(chain) => ring.give_back(&chain, 0)?,
                Next::Empty => break,
                Next::Later => {
                    self.more = true;
                    break;
                }
            }
        }
        ring.end()
    }

    /// Handles control messages of the driver.
    fn hear(&mut self, queue: &mut Queue, memory: &Memory) -> Result<bool, Fault> {
        let Some(mut ring) = Ring::new(queue, memory)? else {
            return Ok(false);
        };
        loop {
            let mut chain = match ring.next()? {
                Next::Chain(chain) => chain,
                Next::Empty => break,
                Next::Later => {
                    self.more = true;
                    break;
                }
            };
            self.message.clear();
            // The buffer bounds the message, however long the chain is.
            ring.read(&mut chain, &mut self.message)?;
            ring.give_back(&chain, 0)?;
            if let Some(message) = Message::decode(self.message.bytes()) {
                self.handle(message);
            }
        }
        ring.end()
    }

    /// Handles a message; an invalid one is ignored.
    fn handle(&mut self, message: Message) {
        let yes = message.value != 0;
        if message.event == event::DEVICE_READY {
            for named in &mut self.ports {
                named.port.tell.add |= yes;
            }
            return;
        }
        let index = usize::try_from(message.port)
            .unwrap_or(usize::MAX)
            .checked_sub(1);
        let Some(named) = index.and_then(|index| self.ports.get_mut(index)) else {
            return;
        };
        match message.event {
            event::PORT_READY => named.port.set_ready(yes),
            event::PORT_OPEN => named.port.set_guest_open(yes),
            _ => {}
        }
    }

    /// Sends pending control messages to the driver, as far as it has provided buffers.
    fn tell(&mut self, queue: &mut Queue, memory: &Memory) -> Result<bool, Fault> {
        let Some(mut ring) = Ring::new(queue, memory)? else {
            return Ok(false);
        };
        for (id, named) in (1..).zip(&mut self.ports) {
            while let Some((message, name)) = named.next_message(id) {
                let mut chain = match ring.next()? {
                    Next::Chain(chain) => chain,
                    Next::Empty => return ring.end(),
                    Next::Later => {
                        self.more = true;
                        return ring.end();
                    }
                };
                let count = ring.write(&mut chain, &message.encode(name))?;
                ring.give_back(&chain, count)?;
                named.said(message);
            }
        }
        ring.end()
    }
}

impl Named {
    /// The next message to the driver, with the port's name if it has one.
    fn next_message(&self, id: u32) -> Option<(Message, &str)> {
        let tell = self.port.tell;
        let message = |event, value: bool, name| {
            let value = u16::from(value);
            let port = id;
            Some((Message { port, event, value }, name))
        };
        if tell.add {
            message(event::PORT_ADD, true, "")
        } else if tell.console {
            message(event::CONSOLE_PORT, true, "")
        } else if tell.name {
            message(event::PORT_NAME, true, self.name.as_str())
        } else if tell.open {
            message(event::PORT_OPEN, self.port.host_open(), "")
        } else {
            None
        }
    }

    /// Marks the message as sent.
    fn said(&mut self, message: Message) {
        let tell = &mut self.port.tell;
        match message.event {
            event::PORT_ADD => tell.add = false,
            event::CONSOLE_PORT => tell.console = false,
            event::PORT_NAME => tell.name = false,
            _ => self.port.told(message.value != 0),
        }
    }
}

impl Device for Console {
    /// Section 5.3.1.
    const ID: u32 = 3;

    fn features(&self) -> u64 {
        MULTIPORT
    }

    fn queue_sizes(&self) -> Vec<u16> {
        let ports = self.ports.iter().flat_map(|_| [PORT_QUEUE; 2]);
        [PORT_0_QUEUE, PORT_0_QUEUE, CONTROL_QUEUE, CONTROL_QUEUE]
            .into_iter()
            .chain(ports)
            .collect()
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn start(&mut self, features: u64) {
        self.multiport = features & MULTIPORT != 0;
    }

    fn reset(&mut self) {
        self.multiport = false;
        self.more = false;
        for named in &mut self.ports {
            named.port.reset();
        }
    }
}
