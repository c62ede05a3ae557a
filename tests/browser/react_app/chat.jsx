// A chat with the AI SDK's useChat.
import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { showChat } from "./show_chat.jsx";

showChat(useChat, DefaultChatTransport);
