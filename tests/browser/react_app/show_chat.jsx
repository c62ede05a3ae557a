// A chat without settings, as docs/chat.md says. With `?resume=ID` it goes on with the answer
// of a chat after a reload, as docs/answers.md says.
import { createRoot } from "react-dom/client";

export function showChat(useChat, DefaultChatTransport) {
  const id = new URLSearchParams(location.search).get("resume");
  const transport = new DefaultChatTransport({ api: "/lasting/api/chat" });
  const settings = id ? [{ id, resume: true, transport }] : [];

  function Chat() {
    const { messages, sendMessage, status, stop, error } = useChat(...settings);
    const said = messages.map(({ role, parts }) => [
      role,
      parts.map((part) => (part.type === "text" ? part.text : "")).join(""),
    ]);
    const ask = () => sendMessage({ text: decodeURIComponent(location.hash.slice(1)) });
    return (
      <>
        <button onClick={ask}>ask</button>
        <button onClick={stop}>stop</button>
        <output>{JSON.stringify({ status, said, error: error?.message })}</output>
      </>
    );
  }

  createRoot(document.getElementById("root")).render(<Chat />);
}
